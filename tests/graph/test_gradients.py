"""Gradients of every differentiable op against central differences in float64, with known and unknown batch sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kigraph as ki

RNG = np.random.default_rng(7)


class Case:
    """One function of tensors of given shapes. ``positive``: inputs away from 0 and below."""

    def __init__(
        self, name: str, function: Callable[..., ki.Tensor], *shapes: tuple[int, ...], positive: bool = False,
        known_only: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.function, self.shapes = name, function, shapes
        self.positive, self.known_only = positive, known_only


def _cases() -> list[Case]:
    found = [
        Case(n, getattr(ki, n), (3, 4))
        for n in (
            "abs", "square", "exp", "sin", "cos", "sigmoid", "tanh", "softplus", "erf", "negative", "relu", "relu6",
        )
    ]  # fmt: skip
    found += [Case(n, getattr(ki, n), (3, 4), positive=True) for n in ("sqrt", "rsqrt", "reciprocal", "log", "log1p")]
    for n in ("add", "subtract", "multiply", "divide", "maximum", "minimum", "squared_difference", "pow"):
        found.append(Case(f"{n}-broadcast", getattr(ki, n), (3, 1, 4), (2, 4), positive=True))
        found.append(Case(f"{n}-scalar", getattr(ki, n), (3, 4), (), positive=True))
    found.append(Case("where", lambda a, b: ki.where(ki.greater(a, 0.0), a, b), (3, 4), (3, 1)))
    for ta in (False, True):
        for tb in (False, True):
            shapes = ((4, 3) if ta else (3, 4), (5, 4) if tb else (4, 5))
            product = _matmul(ta, tb)
            found.append(Case(f"matmul-{ta}-{tb}", product, *shapes))
            found.append(Case(f"batched-matmul-{ta}-{tb}", product, (2, 1, *shapes[0]), (3, *shapes[1])))
    for n in ("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod"):
        found.append(Case(f"{n}-axis", _reduce(n, [1], False), (3, 4, 2)))
        found.append(Case(f"{n}-keepdims", _reduce(n, [0, 2], True), (3, 4, 2)))
        found.append(Case(f"{n}-all", _reduce(n, None, False), (3, 4)))
    for padding in ("SAME", "VALID", [[1, 0], [2, 1]]):
        for strides, dilations in ((1, 1), (2, 1), ([2, 3], 1), (1, 2)):
            tag = f"{padding}-{strides}-{dilations}".replace(" ", "")
            found.append(
                Case(f"conv2d-{tag}", _conv("conv2d", strides, padding, dilations), (2, 5, 6, 2), (3, 2, 2, 3))
            )
            found.append(
                Case(
                    f"depthwise-{tag}",
                    _conv("depthwise_conv2d", strides, padding, dilations),
                    (2, 5, 6, 2),
                    (3, 2, 2, 2),
                )
            )
    for padding in ("SAME", "VALID"):
        for strides in (1, 2):
            found.append(Case(f"max_pool-{padding}-{strides}", _pool("max_pool", strides, padding), (2, 5, 6, 2)))
            found.append(Case(f"avg_pool-{padding}-{strides}", _pool("avg_pool", strides, padding), (2, 5, 6, 2)))
    found += [
        Case("avg_pool-counted", lambda x: ki.avg_pool(x, 3, 2, [[1, 1], [1, 1]], count_include_pad=True), (2, 5, 6, 2)),
        Case("space_to_batch_nd", lambda x: ki.space_to_batch_nd(x, [2, 3], [[1, 0], [0, 1]]), (2, 5, 5, 2)),
        Case("batch_to_space_nd", lambda x: ki.batch_to_space_nd(x, [2, 3], [[1, 0], [0, 2]]), (6, 2, 3, 2)),
        *(
            Case(f"{op}-{form}", lambda x, op=op, form=form: getattr(ki, op)(x, 2, form), (2, 4, 4, 4))
            for op in ("space_to_depth", "depth_to_space") for form in ("NHWC", "NCHW")
        ),
        Case("bias_add", ki.bias_add, (2, 3, 4), (4,)),
        Case("fused_batch_norm", lambda x, s, o, m: ki.fused_batch_norm(x, s, o, m, np.full(4, 2.0)), (2, 3, 3, 4), (4,), (4,), (4,)),
        Case("batch_normalization", lambda x, m, v, o, s: ki.batch_normalization(x, m, v, o, s, 1e-3),
             (2, 3, 3, 4), (4,), (4,), (4,), (4,), positive=True),
        Case("batch_norm-training", _batch_norm_training, (2, 3, 3, 4), (4,), (4,)),
        *(
            Case(f"lrn-{radius}-{beta}", _lrn(radius, beta), (2, 2, 1, 6))
            for radius in (0, 1, 2, 9) for beta in (-0.5, 0.3, 0.5, 0.75, 1.0, 2.0)
        ),
        Case("softmax", ki.softmax, (3, 5)),
        Case("softmax-axis-0", lambda a: ki.softmax(a, 0), (3, 5)),
        Case("log_softmax", lambda a: ki.log_softmax(a, 0), (3, 5)),
        Case("cross_entropy", lambda a, b: ki.softmax_cross_entropy_with_logits(b, a), (3, 5), (3, 5)),
        Case("sparse_cross_entropy", lambda a: ki.sparse_softmax_cross_entropy_with_logits([1, 0, 4], a), (3, 5)),
        Case("identity", ki.identity, (3, 4)),
        Case("reshape", lambda x: ki.reshape(x, [-1, 2]), (3, 4)),
        Case("squeeze", lambda x: ki.squeeze(x, [1]), (3, 1, 4)),
        Case("expand_dims", lambda x: ki.expand_dims(x, 1), (3, 4)),
        Case("transpose", lambda x: ki.transpose(x, [2, 0, 1]), (3, 1, 4)),
        Case("pad", lambda x: ki.pad(x, [[1, 2], [0, 1]]), (3, 4)),
        Case("slice", lambda x: ki.slice(x, [1, 2], [2, -1]), (4, 5), known_only=True),
        Case("getitem-step", lambda x: x[1:, ::2], (4, 5), known_only=True),
        Case("getitem-backwards", lambda x: x[::-2, 1:2], (4, 5), known_only=True),
        Case("getitem-axes", lambda x: x[1, ..., None], (4, 5), known_only=True),
        Case("split", lambda x: ki.split(x, [2, 3], 1)[1], (4, 5)),
        Case("unstack", lambda x: ki.unstack(x, axis=1)[1], (4, 5)),
        Case("concat-repeated", lambda a, b: ki.concat([a, b, a], 1), (4, 5), (4, 2)),
        Case("stack", lambda a, b: ki.stack([a, b], 1), (4, 5), (4, 5)),
        Case("tile", lambda a: ki.tile(a, [2, 3]), (2, 3), known_only=True),
        Case("broadcast_to", lambda a: ki.broadcast_to(a, [4, 2, 3]), (2, 1)),
        Case("fill", lambda a: ki.fill([2, 3], a), ()),
        Case("gather", lambda a: ki.gather(a, [[2, 0], [2, 1]], 1), (2, 3, 2), known_only=True),
        Case("top_k", lambda a: ki.top_k(a, 2)[0], (3, 5), known_only=True),
        *(
            Case(n, getattr(ki, n), (3, 4))
            for n in ("elu", "selu", "leaky_relu", "softsign", "erfc", "expm1", "tan", "atan", "sinh", "cosh", "asinh", "l2_loss")
        ),
        *(Case(n, _bounded(n), (3, 4)) for n in ("asin", "acos", "atanh")),
        Case("acosh", lambda x: ki.acosh(x + 1.5), (3, 4), positive=True),
        *(
            Case(n, getattr(ki, n), (3, 1, 4), (2, 4), positive=True)
            for n in ("atan2", "divide_no_nan", "multiply_no_nan", "xlogy", "xlog1py", "xdivy")
        ),
        Case("add_n", lambda a, b, c: ki.add_n([a, b, c, a]), (3, 4), (3, 4), (3, 4)),
        Case("clip_by_value", lambda a: ki.clip_by_value(a, -0.5, 0.7), (3, 4)),
        Case("identity_n", lambda a, b: ki.multiply(*ki.identity_n([a, b])), (3, 4), (3, 4)),
        Case("einsum", lambda a, b: ki.einsum("abc,cd->bda", a, b), (3, 4, 2), (2, 5)),
        Case("einsum-spread", lambda a, b: ki.einsum("ab,cd->da", a, b), (3, 4), (2, 5)),
        Case("gather_nd", lambda a: ki.gather_nd(a, [[2, 0], [0, 1], [2, 0]]), (3, 2, 2), known_only=True),
        Case("scatter_nd", lambda a: ki.scatter_nd([[2], [0], [2]], a, [4, 2]), (3, 2)),
        Case("tensor_scatter_nd_update", lambda a, b: ki.tensor_scatter_nd_update(a, [[2], [0]], b), (3, 2), (2, 2)),
        Case("tensor_scatter_nd_sub", lambda a, b: ki.tensor_scatter_nd_sub(a, [[2], [2]], b), (3, 2), (2, 2)),
        Case("unsorted_segment_sum", lambda a: ki.unsorted_segment_sum(a, [1, -1, 0, 1], 3), (4, 2)),
        Case("one_hot", lambda a, b: ki.one_hot([1, 5, 0], 3, a, b), (), ()),
        Case("reverse", lambda a: ki.reverse(a, [1]), (3, 4), known_only=True),
        Case("reverse_sequence", lambda a: ki.reverse_sequence(a, [1, 3, 4], 1), (3, 4)),
        Case("roll", lambda a: ki.roll(a, [1, -3], [0, 1]), (3, 4)),
        Case("cumsum", lambda a: ki.cumsum(a, 1, exclusive=True), (3, 4)),
        Case("cumsum-reverse", lambda a: ki.cumsum(a, 0, reverse=True), (3, 4)),
        Case("matrix_band_part", lambda a: ki.matrix_band_part(a, 1, 0), (3, 4)),
        Case("shared-input", lambda a: a * a + ki.exp(a) * a, (3, 2)),
        Case("second-derivative", lambda a: ki.gradients(ki.reduce_sum(ki.sigmoid(a) * a), a)[0], (3, 2), known_only=True),
        Case("second-derivative-conv",
             lambda x, w: ki.square(ki.gradients(ki.reduce_sum(ki.square(ki.conv2d(x, w, 2, "SAME"))), w)[0]),
             (1, 4, 4, 2), (3, 3, 2, 2), known_only=True),
    ]  # fmt: skip
    return found


def _bounded(name: str) -> Callable[..., ki.Tensor]:
    """Of numbers from -0.4 to 0.4."""
    return lambda x: getattr(ki, name)(0.4 * ki.tanh(x))


def _matmul(ta: bool, tb: bool) -> Callable[..., ki.Tensor]:
    return lambda a, b: ki.matmul(a, b, ta, tb)


def _reduce(name: str, axes: list[int] | None, keepdims: bool) -> Callable[..., ki.Tensor]:
    return lambda a: getattr(ki, name)(a, axes, keepdims)


def _conv(name: str, strides: Any, padding: Any, dilations: Any) -> Callable[..., ki.Tensor]:
    return lambda x, w: getattr(ki, name)(x, w, strides, padding, dilations=dilations)


def _pool(name: str, strides: int, padding: str) -> Callable[..., ki.Tensor]:
    return lambda x: getattr(ki, name)(x, 3, strides, padding)


def _lrn(radius: int, beta: float) -> Callable[..., ki.Tensor]:
    return lambda x: ki.lrn(x, radius, 1.5, 0.7, beta)


def _batch_norm_training(x: ki.Tensor, offset: ki.Tensor, scale: ki.Tensor) -> ki.Tensor:
    mean, variance = ki.moments(x, [0, 1, 2])
    return ki.batch_normalization(x, mean, variance, offset, scale, 1e-3)


CASES = _cases()


@pytest.mark.parametrize("unknown_batch", [False, True], ids=["known", "unknown_batch"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_gradient_is_the_slope(case: Case, unknown_batch: bool) -> None:
    if unknown_batch and case.known_only:
        pytest.skip("needs known shapes, and says so: test_unknown_shape_is_an_error")
    with ki.Graph().as_default() as graph:
        xs = [ki.placeholder("float64", [None, *s[1:]] if unknown_batch and s else s) for s in case.shapes]
        y = case.function(*xs)
        weight = ki.placeholder("float64")
        slopes = ki.gradients(y, xs, grad_ys=weight)
    session = ki.Session(graph, backend="numpy")
    values = [RNG.uniform(0.5, 2, s) if case.positive else RNG.standard_normal(s) for s in case.shapes]
    feed: dict[Any, Any] = dict(zip(xs, values, strict=True))
    weights = RNG.standard_normal(np.shape(session.run(y, feed)))
    for x, value, slope in zip(xs, values, slopes, strict=True):
        assert slope is not None
        got = np.asarray(session.run(slope, {**feed, weight: weights}))
        want = _central_differences(lambda v, x=x: float((session.run(y, {**feed, x: v}) * weights).sum()), value)
        assert got.shape == value.shape
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6 * (1 + np.abs(want).max(initial=0)))


def _central_differences(f: Callable[[np.ndarray[Any, Any]], float], at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    slope, step = np.zeros_like(at), 1e-6
    for index in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[index] += step
        down[index] -= step
        slope[index] = (f(up) - f(down)) / (2 * step)
    return slope


@pytest.mark.parametrize("case", [c for c in CASES if c.known_only], ids=lambda c: c.name)
def test_unknown_shape_is_an_error(case: Case) -> None:
    """What needs known shapes says so, with the node's name."""
    with ki.Graph().as_default():
        xs = [ki.placeholder("float64", [None, *s[1:]]) for s in case.shapes]
        try:
            y = case.function(*xs)
            slopes = ki.gradients(y, xs)
        except ki.GraphError as error:
            assert "known" in str(error) or "constant" in str(error)
        else:
            assert all(s is not None for s in slopes)


def test_independent_and_stopped_inputs_give_none() -> None:
    with ki.Graph().as_default():
        a, b = ki.placeholder("float32", [2]), ki.placeholder("float32", [2])
        assert ki.gradients(ki.square(a), [a, b])[1] is None
        assert ki.gradients(ki.stop_gradient(a) * b, a) == [None]
        assert ki.gradients(ki.floor(a), a) == [None]


def test_errors_name_op_and_node() -> None:
    with ki.Graph().as_default():
        x = ki.placeholder("float32", [1, 4, 4, 1])
        y = ki.resize_bilinear(x, [8, 8], name="bigger")
        with pytest.raises(ki.GraphError, match=r"ResizeBilinear 'bigger'.*stop_gradient"):
            ki.gradients(y, x)
        with pytest.raises(ki.GraphError, match="float"):
            ki.gradients(ki.constant(1), ki.constant(2))
        with pytest.raises(ki.GraphError, match="1 ys but 2 grad_ys"):
            ki.gradients([ki.square(x)], x, grad_ys=[1.0, 2.0])


def test_cast_changes_the_dtype_back() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float64", [3])
        (slope,) = ki.gradients(ki.reduce_sum(ki.square(ki.cast(x, "float32"))), x)
        assert slope is not None
        assert slope.dtype == np.float64
    np.testing.assert_allclose(ki.Session(graph, backend="numpy").run(slope, {x: [1.0, 2.0, 3.0]}), [2, 4, 6])


def test_gradients_are_added_to_the_graph_once_and_named() -> None:
    with ki.Graph().as_default() as graph:
        x = ki.placeholder("float32", [3])
        (slope,) = ki.gradients(ki.reduce_sum(x * x), x)
        assert slope is not None
        assert slope.name.startswith("gradients/")
        before = len(graph)
    session = ki.Session(graph, backend="numpy")
    np.testing.assert_allclose(session.run(slope, {x: [1.0, 2.0, 3.0]}), [2, 4, 6])
    assert len(graph) == before
