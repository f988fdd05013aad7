"""The backward reference kernels against the forward ones: a linear op and its gradient are adjoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import gradients as ops
from kigraph.kernels.contracts.conv2d import CONV2D, DEPTHWISE_CONV2D, Conv2DParams
from kigraph.kernels.contracts.pool2d import AVG_POOL2D, MAX_POOL2D, Pool2DParams
from kigraph.kernels.errors import KernelError

NDArray = np.ndarray[Any, Any]
Call = Callable[..., list[NDArray]]


@pytest.mark.parametrize("number", range(24))
@pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
def test_convolution_gradients_are_adjoint(number: int, depthwise: bool, seed: int, call: Call) -> None:
    """sum(dy * conv(x, w)) = sum(dx * x) = sum(dw * w), for every x, w and dy: the op is linear in both."""
    rng = np.random.default_rng([seed, number])
    kh, kw, sh, sw, dh, dw = (int(k) for k in rng.integers(1, 4, 6))
    x = rng.standard_normal((2, (kh - 1) * dh + 4, (kw - 1) * dw + 3, 3))
    w = rng.standard_normal((kh, kw, 3, 2))
    padding: Any = ("SAME", "VALID", (1, 0, 2, 1))[number % 3]
    params = Conv2DParams((sh, sw), padding, (dh, dw))
    forward, of_x, of_w = (
        (DEPTHWISE_CONV2D, ops.DEPTHWISE_CONV2D_INPUT_GRAD, ops.DEPTHWISE_CONV2D_FILTER_GRAD)
        if depthwise
        else (CONV2D, ops.CONV2D_INPUT_GRAD, ops.CONV2D_FILTER_GRAD)
    )
    (y,) = call(forward, [x, w], params)
    dy = rng.standard_normal(y.shape)
    (dx,) = call(of_x, [w, dy], ops.ConvGradParams(params, x.shape))
    (df,) = call(of_w, [x, dy], ops.ConvGradParams(params, w.shape))
    # One direction would leave errors elsewhere unseen: a second random x and w probe the same gradients.
    x2, w2 = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    assert np.vdot(dx, x2) == pytest.approx(np.vdot(dy, call(forward, [x2, w], params)[0]), rel=1e-9, abs=1e-9)
    assert np.vdot(df, w2) == pytest.approx(np.vdot(dy, call(forward, [x, w2], params)[0]), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("padding", ["SAME", "VALID", (1, 0, 0, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_average_pool_gradient_is_adjoint(counted: bool, padding: Any, strides: Any, seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, 7, 8, 3))
    params = Pool2DParams((2, 3), strides, padding, counted)
    (y,) = call(AVG_POOL2D, [x], params)
    dy = rng.standard_normal(y.shape)
    (dx,) = call(ops.AVG_POOL2D_GRAD, [dy], ops.AvgPool2DGradParams(params, x.shape))
    assert np.vdot(dx, x) == pytest.approx(np.vdot(dy, y), rel=1e-9)


@pytest.mark.parametrize("padding", ["SAME", "VALID", (1, 0, 0, 1)])
def test_max_pool_gradient_against_differences(padding: Any, seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    x = rng.permutation(2 * 6 * 7 * 2).reshape(2, 6, 7, 2).astype(float)  # all different: the maximum is smooth
    params = Pool2DParams((3, 2), (2, 1), padding)
    (y,) = call(MAX_POOL2D, [x], params)
    dy = rng.standard_normal(y.shape)
    (dx,) = call(ops.MAX_POOL2D_GRAD, [x, y, dy], params)
    for index in np.ndindex(*x.shape):
        moved = x.copy()
        moved[index] += 1e-3
        (y2,) = call(MAX_POOL2D, [moved], params)
        assert dx[index] == pytest.approx(np.vdot(dy, y2 - y) / 1e-3, abs=1e-6)


def test_max_pool_gradient_goes_to_the_first_of_equals(call: Call) -> None:
    x = np.array([[2, 5, 5], [5, 1, 0]], np.float32).reshape(1, 2, 3, 1)
    params = Pool2DParams((2, 3))
    (dx,) = call(
        ops.MAX_POOL2D_GRAD, [x, np.full((1, 1, 1, 1), 5, np.float32), np.ones((1, 1, 1, 1), np.float32)], params
    )
    assert dx[0, :, :, 0].tolist() == [[0, 1, 0], [0, 0, 0]]


def test_activation_gradients(call: Call) -> None:
    x, dy = np.array([-1, 0, 3, 6, 7, np.nan], np.float32), np.arange(1, 7, dtype=np.float32)
    assert call(ops.RELU_GRAD, [dy, x])[0].tolist() == [0, 0, 3, 4, 5, 0]
    assert call(ops.RELU6_GRAD, [dy, x])[0].tolist() == [0, 0, 3, 0, 0, 0]


def test_cross_entropies_against_differences(seed: int, call: Call) -> None:
    rng = np.random.default_rng(seed)
    logits, classes = rng.standard_normal((4, 5)), np.array([0, 4, 2, 2])
    labels = np.eye(5)[classes]
    loss, gradient = call(ops.SOFTMAX_CROSS_ENTROPY, [logits, labels])
    sparse_loss, sparse_gradient = call(ops.SPARSE_SOFTMAX_CROSS_ENTROPY, [logits, classes])
    np.testing.assert_allclose(loss, sparse_loss, rtol=1e-12)
    np.testing.assert_allclose(gradient, sparse_gradient, rtol=1e-12, atol=1e-14)
    want = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), classes]
    np.testing.assert_allclose(loss, want, rtol=1e-12)
    for i, c in np.ndindex(4, 5):
        moved = logits.copy()
        moved[i, c] += 1e-6
        (up, _) = call(ops.SOFTMAX_CROSS_ENTROPY, [moved, labels])
        assert gradient[i, c] == pytest.approx((up[i] - loss[i]) / 1e-6, abs=1e-5)


def test_a_label_out_of_range_is_an_error(call: Call) -> None:
    for label in (-1, 5):
        with pytest.raises(KernelError, match="expected 0 to 4"):
            call(ops.SPARSE_SOFTMAX_CROSS_ENTROPY, [np.zeros((1, 5)), np.array([label])])
