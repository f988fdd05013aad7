"""The backward C kernels: fixed order of sums, strides, blocks and parts of sums, empty batches, refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.contracts import gradients as ops
from kigraph.kernels.contracts.base import Contract
from kigraph.kernels.contracts.conv2d import Conv2DParams
from kigraph.kernels.contracts.gradients import AvgPool2DGradParams, ConvGradParams
from kigraph.kernels.contracts.pool2d import Pool2DParams
from kigraph.kernels.devices import HOST
from kigraph.kernels.errors import KernelError
from kigraph.kernels.kernel import NoConstants, Query
from kigraph.kernels.registry import select
from kigraph.kernels.tensor import Params, TensorType

pytest.importorskip("kigraph.kernels.cython.core", reason="the C kernels are not built")

Array = np.ndarray[Any, Any]
Four = tuple[int, int, int, int]


def call(
    contract: Contract[Any], inputs: list[Array], params: Params, threads: int = 1, backend: str = "cython"
) -> list[Array]:
    """Outputs of one run, in memory that held NaN before (outputs and workspace)."""
    types = tuple(TensorType(a.dtype, a.shape) for a in inputs)
    query = Query(contract, types, contract.check(types, params), params, threads=threads)
    kernel = select(query, [backend]).kernel
    assert kernel.backend == backend
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, NoConstants())
    outputs = [np.full(t.dims, np.nan, t.dtype) for t in query.outputs]
    workspace = HOST.allocate(prepared.workspace_bytes)
    workspace[:] = 255
    prepared.bind(inputs, outputs, workspace)()
    return outputs


def random(*shape: int, dtype: Any = np.float32, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def conv_cases(
    x: Four, w: Four, forward: Conv2DParams, dtype: Any = np.float32
) -> Mapping[str, tuple[Any, list[Array], Params]]:
    """Both gradients of a convolution: contract, inputs, parameters."""
    from kigraph.kernels.contracts.conv2d import CONV2D

    (y,) = CONV2D.infer([TensorType(np.dtype(dtype), x), TensorType(np.dtype(dtype), w)], forward)
    dy = random(*y.dims, dtype=dtype, seed=1)
    return {
        "input": (ops.CONV2D_INPUT_GRAD, [random(*w, dtype=dtype), dy], ConvGradParams(forward, x)),
        "filter": (ops.CONV2D_FILTER_GRAD, [random(*x, dtype=dtype), dy], ConvGradParams(forward, w)),
    }


SAME = Conv2DParams(padding="SAME")
STRIDED = Conv2DParams(padding="SAME", strides=(2, 2))

#: Several blocks and parts, taps joined (3 channels), tails of channels, more filter than may be summed in parts.
SHAPES = [
    ((8, 40, 40, 3), (3, 3, 3, 24), SAME),
    ((6, 33, 31, 20), (3, 5, 20, 40), SAME),
    ((4, 30, 33, 24), (3, 3, 24, 17), STRIDED),
    ((40, 7, 7, 33), (1, 1, 33, 50), Conv2DParams()),
    ((3, 12, 12, 256), (5, 5, 256, 192), SAME),
]


@pytest.mark.parametrize("which", ["input", "filter"])
@pytest.mark.parametrize(("x", "w", "forward"), SHAPES)
@pytest.mark.parametrize("threads", [2, 3])
def test_convolutions_have_the_same_bits_for_any_number_of_threads(
    x: Four, w: Four, forward: Conv2DParams, which: str, threads: int
) -> None:
    case = conv_cases(x, w, forward)[which]
    (alone,) = call(*case)
    assert np.isfinite(alone).all()
    for _ in range(3):
        (together,) = call(*case, threads=threads)
        assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize("which", ["input", "filter"])
@pytest.mark.parametrize(("x", "w", "forward"), SHAPES)
def test_large_convolutions_against_the_reference_in_float64(
    x: Four, w: Four, forward: Conv2DParams, which: str
) -> None:
    """Sums of float32 in blocks stay close to the exact gradient; float64 kernels are right to 1e-12."""
    contract, inputs, params = conv_cases(x, w, forward)[which]
    exact = [a.astype(np.float64) for a in inputs]
    (wanted,) = call(contract, exact, params, backend="numpy")
    scale = np.abs(wanted).max()
    (single,) = call(contract, inputs, params, threads=2)
    (double,) = call(contract, exact, params, threads=2)
    assert np.abs(single - wanted).max() <= 3e-6 * scale
    assert np.abs(double - wanted).max() <= 1e-12 * scale


@pytest.mark.parametrize("strides", [(1, 2), (2, 1), (3, 2), (4, 4), (5, 1)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", (0, 3, 2, 0)])
def test_phases_of_strided_and_dilated_input_gradients(strides: Any, dilations: Any, padding: Any) -> None:
    """TensorFlow refuses both at once; the contract does not. No tap reads some residues, and some taps read any residue."""
    forward = Conv2DParams(strides=strides, dilations=dilations, padding=padding)
    contract, inputs, params = conv_cases((2, 17, 19, 5), (3, 4, 5, 7), forward, np.float64)["input"]
    (wanted,) = call(contract, inputs, params, backend="numpy")
    (got,) = call(contract, inputs, params, threads=2)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-12)


def pool_cases() -> Mapping[str, tuple[Any, list[Array], Params]]:
    from kigraph.kernels.contracts.pool2d import MAX_POOL2D

    x, forward = random(5, 21, 22, 70), Pool2DParams((3, 3), (2, 2), padding="SAME")
    (y,) = call(MAX_POOL2D, [x], forward)
    dy = random(*y.shape, seed=2)
    depthwise = ConvGradParams(STRIDED, (3, 3, 70, 1)), ConvGradParams(STRIDED, (5, 21, 22, 70))
    return {
        "max_pool": (ops.MAX_POOL2D_GRAD, [x, y, dy], forward),
        "avg_pool": (ops.AVG_POOL2D_GRAD, [dy], AvgPool2DGradParams(forward, (5, 21, 22, 70))),
        "depthwise_filter": (ops.DEPTHWISE_CONV2D_FILTER_GRAD, [x, dy], depthwise[0]),
        "depthwise_input": (ops.DEPTHWISE_CONV2D_INPUT_GRAD, [random(3, 3, 70, 1), dy], depthwise[1]),
        "cross_entropy": (
            ops.SOFTMAX_CROSS_ENTROPY,
            [random(300, 40), np.full((300, 40), 1 / 40, np.float32)],
            Params(),
        ),
        "sparse": (ops.SPARSE_SOFTMAX_CROSS_ENTROPY, [random(300, 40), np.arange(300) % 40], Params()),
        "relu": (ops.RELU_GRAD, [random(400, 300), random(400, 300, seed=3)], Params()),
    }


@pytest.mark.parametrize(
    "name", ["max_pool", "avg_pool", "depthwise_filter", "depthwise_input", "cross_entropy", "sparse", "relu"]
)
def test_other_gradients_have_the_same_bits_for_any_number_of_threads(name: str) -> None:
    contract, inputs, params = pool_cases()[name]
    alone = call(contract, inputs, params)
    reference = call(contract, inputs, params, backend="numpy")
    for threads in (2, 5):
        for a, b, wanted in zip(alone, call(contract, inputs, params, threads), reference, strict=True):
            assert a.tobytes() == b.tobytes()
            np.testing.assert_allclose(a, wanted, rtol=1e-5, atol=1e-5)


def test_an_empty_batch_gives_zeros_for_filters() -> None:
    for which, (contract, inputs, params) in conv_cases((0, 9, 9, 3), (3, 3, 3, 4), SAME).items():
        (result,) = call(contract, inputs, params, threads=2)
        assert result.size == (0 if which == "input" else 108)
        assert not result.any()
    depthwise = ConvGradParams(SAME, (3, 3, 3, 1))
    (result,) = call(ops.DEPTHWISE_CONV2D_FILTER_GRAD, [random(0, 9, 9, 3), random(0, 9, 9, 3)], depthwise)
    assert not result.any()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
@pytest.mark.parametrize("wrong", [5, 100, -1])
def test_labels_out_of_range_are_named(dtype: str, wrong: int) -> None:
    label = np.array([0, 4, 2]).astype(dtype)
    label[1] = np.array(wrong).astype(dtype)
    messages = []
    for backend in ("numpy", "cython"):
        with pytest.raises(KernelError, match="expected 0 to 4") as caught:
            call(ops.SPARSE_SOFTMAX_CROSS_ENTROPY, [random(3, 5), label], Params(), backend=backend)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert str(label[1]) in messages[0]


def test_only_the_first_of_equal_maxima_gets_the_gradient() -> None:
    x = np.zeros((1, 4, 4, 70), np.float32)
    dy = random(1, 2, 2, 70)
    (dx,) = call(ops.MAX_POOL2D_GRAD, [x, np.zeros_like(dy), dy], Pool2DParams((3, 3), (1, 1)))
    wanted = np.zeros_like(x)
    wanted[:, :2, :2] = dy
    np.testing.assert_array_equal(dx, wanted)


def test_an_input_gradient_refuses_what_its_offsets_cannot_reach() -> None:
    """A channel slice as output: the phases of a strided convolution count in dense pixels."""
    contract, (w, dy), params = conv_cases((1, 8, 8, 4), (3, 3, 4, 4), STRIDED)["input"]
    types = tuple(TensorType(a.dtype, a.shape) for a in (w, dy))
    query = Query(contract, types, contract.check(types, params), params)
    kernel = select(query, ["cython"]).kernel
    assert kernel.prepare is not None
    assert not kernel.strided_outputs
    prepared = kernel.prepare(query, NoConstants())
    with pytest.raises(KernelError, match="dense"):
        prepared.bind([w, dy], [np.empty((1, 8, 8, 6), np.float32)[..., :4]], HOST.allocate(prepared.workspace_bytes))
    with pytest.raises(KernelError, match="workspace must have"):
        prepared.bind([w, dy], [np.empty((1, 8, 8, 4), np.float32)], None)
