"""data_format NCHW: types, values next to the same op in NHWC, feeds and fetches of what lies between, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError, UnsupportedOpError
from kigraph.graph.opdefs import CHANNELS, OPDEFS
from kigraph.graph.passes import PASSES
from kigraph.graph.session import Session
from kigraph.kernels.errors import KigraphError

NDArray = np.ndarray[Any, Any]
Make = Callable[..., Session]
NAMES = [name for name, _ in PASSES]
FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def first(x: NDArray) -> NDArray:
    """NHWC -> NCHW."""
    return np.ascontiguousarray(x.transpose(FIRST))


def add(graph: Graph, op: str, inputs: list[Any], **attrs: Any) -> tuple[Tensor, ...]:
    return tuple(
        graph.create_op(op, [ops.constant(i) if isinstance(i, np.ndarray) else i for i in inputs], attrs).outputs
    )


def conv_by_hand(x: NDArray, w: NDArray, strides: tuple[int, int], pads: tuple[int, int, int, int]) -> NDArray:
    """NCHW in float64, pixel by pixel."""
    top, bottom, left, right = pads
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    kh, kw, _, cout = w.shape
    oh, ow = (x.shape[2] - kh) // strides[0] + 1, (x.shape[3] - kw) // strides[1] + 1
    y = np.zeros((x.shape[0], cout, oh, ow))
    for i, j in np.ndindex(oh, ow):
        window = x[:, :, i * strides[0] : i * strides[0] + kh, j * strides[1] : j * strides[1] + kw]
        y[:, :, i, j] = np.einsum("nchw,hwco->no", window, w.astype(np.float64))
    return y


@pytest.mark.parametrize("skipped", [(), NAMES], ids=["passes", "no passes"])
@pytest.mark.parametrize("batch", [2, None])
def test_a_convolution_with_other_strides_and_paddings_on_each_side(
    graph: Graph, session: Make, rng: np.random.Generator, batch: int | None, skipped: tuple[str, ...]
) -> None:
    x = rng.normal(size=(2, 3, 7, 9)).astype(np.float32)
    w = rng.normal(size=(2, 3, 3, 5)).astype(np.float32)
    image = ops.placeholder("float32", (batch, 3, None, 9))
    y = ops.conv2d(image, w, [1, 2], [[1, 0], [2, 1]], data_format="NCHW")
    assert y.op.attrs["strides"] == (1, 1, 1, 2)
    assert y.op.attrs["explicit_paddings"] == (0, 0, 0, 0, 1, 0, 2, 1)
    assert y.shape == (batch, 5, None, 5)
    found = session(skip_passes=skipped).run(y, {image: x})
    np.testing.assert_allclose(found, conv_by_hand(x, w, (1, 2), (1, 0, 2, 1)), rtol=1e-5, atol=1e-5)


CASES: list[tuple[str, dict[str, Any], list[tuple[int, ...]]]] = [
    ("Conv2D", {"strides": (1, 2, 1, 1), "padding": "SAME", "dilations": (1, 1, 2, 1)}, [(3, 2, 4, 5)]),
    ("Conv2D", {"strides": (1, 1, 1, 1), "padding": "VALID"}, [(3, 3, 2, 6)]),
    ("DepthwiseConv2dNative", {"strides": (1, 1, 1, 1), "padding": "SAME"}, [(2, 3, 4, 2)]),
    ("MaxPool", {"ksize": (1, 3, 2, 1), "strides": (1, 1, 2, 1), "padding": "SAME"}, []),
    ("AvgPool", {"ksize": (1, 2, 3, 1), "strides": (1, 2, 1, 1), "padding": "VALID"}, []),
    ("AvgPool", {"ksize": (1, 2, 2, 1), "strides": (1, 2, 1, 1), "padding": "EXPLICIT", "count_include_pad": True,
                 "explicit_paddings": (0, 0, 1, 0, 0, 1, 0, 0)}, []),
    ("BiasAdd", {}, [(4,)]),
    ("FusedBatchNorm", {"epsilon": 0.01, "is_training": False}, [(4,)] * 4),
    ("FusedBatchNormV2", {"epsilon": 0.01, "is_training": False}, [(4,)] * 4),
    ("FusedBatchNormV3", {"epsilon": 0.01, "is_training": False}, [(4,)] * 4),
    ("BiasAddGrad", {}, []),
]  # fmt: skip


def in_nchw(attrs: dict[str, Any]) -> dict[str, Any]:
    pairs = attrs.get("explicit_paddings", ())
    made = {k: tuple(v[i] for i in FIRST) if k in ("strides", "ksize", "dilations") else v for k, v in attrs.items()}
    if pairs:
        made["explicit_paddings"] = tuple(pairs[2 * i + j] for i in FIRST for j in range(2))
    return {**made, "data_format": "NCHW"}


@pytest.mark.parametrize("skipped", [(), NAMES], ids=["passes", "no passes"])
@pytest.mark.parametrize(("op", "attrs", "shapes"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_every_op_gives_what_it_gives_in_nhwc(
    graph: Graph, session: Make, rng: np.random.Generator, op: str, attrs: dict[str, Any], shapes: list[Any], skipped: Any,
) -> None:  # fmt: skip
    x = rng.normal(size=(2, 5, 6, 4)).astype(np.float32)
    others = [rng.random(s).astype(np.float32) + 0.5 for s in shapes]
    last, given = ops.placeholder("float32", x.shape), ops.placeholder("float32", (None, 4, 5, 6))
    a = add(graph, op, [last, *others], **attrs, data_format="NHWC")
    b = add(graph, op, [given, *others], **in_nchw(attrs))
    used = 1 if op == "FusedBatchNorm" or len(a) == 1 else 3
    wanted, found = session(skip_passes=skipped).run([a[:used], b[:used]], {last: x, given: first(x)})
    for i, (v, w) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(v, first(w) if w.ndim == 4 else w, rtol=1e-5, atol=1e-5, err_msg=f"output {i}")
    shape = a[0].shape
    assert shape is not None
    assert b[0].shape == ((None, *(shape[i] for i in FIRST[1:])) if len(shape) == 4 else shape)


def test_no_op_takes_data_format_and_ignores_it() -> None:
    """An op whose attributes have it is in the table, else NCHW would be computed as NHWC."""
    assert {name for name, d in OPDEFS.items() if "data_format" in d.attributes} <= CHANNELS.keys()


def test_a_fused_op_of_a_file(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 3, 5, 6)).astype(np.float32)
    w, b = rng.normal(size=(2, 2, 3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    attrs = {"strides": (1, 1, 1, 1), "padding": "VALID", "activation": "relu", "data_format": "NCHW"}
    given = ops.placeholder("float32", x.shape)
    (y,) = add(graph, "KiFusedConv2D", [given, w, b], **attrs)
    wanted = np.maximum(conv_by_hand(x, w, (1, 1), (0,) * 4) + b.reshape(4, 1, 1), 0)
    np.testing.assert_allclose(session().run(y, {given: x}), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("op", ["FusedBatchNormV2", "FusedBatchNormV3"])
def test_statistics_of_a_batch_norm_behind_a_convolution_are_fetched(
    graph: Graph, session: Make, rng: np.random.Generator, op: str
) -> None:
    x = ops.placeholder("float32", (None, 3, 6, 6))
    y = ops.conv2d(x, rng.normal(size=(3, 3, 3, 4)).astype(np.float32), 1, "SAME", data_format="NCHW")
    scale, offset, mean, variance = (rng.random(4).astype(np.float32) + 0.5 for _ in range(4))
    out = add(graph, op, [y, scale, offset, mean, variance], is_training=False, data_format="NCHW", epsilon=1e-3)
    assert [t.shape for t in out[:5]] == [(None, 4, 6, 6), *[(4,)] * 4]
    value = rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    before, after, *statistics = session().run([y, *out[:5]], {x: value})
    axes = (1, 4, 1, 1)
    wanted = (before - mean.reshape(axes)) / np.sqrt(variance.reshape(axes) + 1e-3) * scale.reshape(axes)
    np.testing.assert_allclose(after, wanted + offset.reshape(axes), rtol=1e-4, atol=1e-4)
    for found, stated in zip(statistics, (mean, variance, mean, variance), strict=True):
        np.testing.assert_array_equal(found, stated)


@pytest.mark.parametrize("shape", [(3, 4), (2, 4, 5), (2, 4, 3, 5), (1, 4, 2, 3, 2)])
def test_a_bias_is_added_along_axis_1_whatever_the_rank(
    graph: Graph, session: Make, rng: np.random.Generator, shape: tuple[int, ...]
) -> None:
    x, b = rng.normal(size=shape).astype(np.float32), rng.normal(size=4).astype(np.float32)
    given = ops.placeholder("float32", (None, *shape[1:]))
    y = ops.bias_add(given, b, data_format="NCHW")
    assert y.shape == (None, *shape[1:])
    np.testing.assert_allclose(session().run(y, {given: x}), x + b.reshape(4, *[1] * (len(shape) - 2)), rtol=1e-6)


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_are_those_of_axis_1(graph: Graph, session: Make, rng: np.random.Generator, groups: int) -> None:
    x = rng.normal(size=(2, 4, 5, 6)).astype(np.float32)
    w = rng.normal(size=(2, 2, 4 // groups, 8)).astype(np.float32)
    given = ops.placeholder("float32", (None, 4, None, None))
    y = ops.conv2d(given, w, data_format="NCHW")
    assert y.shape == (None, 8, None, None)
    share = 4 // groups, 8 // groups
    parts = [
        conv_by_hand(
            x[:, g * share[0] : (g + 1) * share[0]], w[..., g * share[1] : (g + 1) * share[1]], (1, 1), (0,) * 4
        )
        for g in range(groups)
    ]
    np.testing.assert_allclose(session().run(y, {given: x}), np.concatenate(parts, 1), rtol=1e-4, atol=1e-4)


def test_what_lies_between_is_fed_and_fetched_in_nchw(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", (None, 3, 8, 8))
    w = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
    y = ops.conv2d(x, w, 1, "SAME", data_format="NCHW")
    z = ops.relu(ops.bias_add(y, np.arange(4, dtype=np.float32), data_format="NCHW"))
    p = ops.max_pool(z, 2, 2, data_format="NCHW")
    value = rng.normal(size=(2, 3, 8, 8)).astype(np.float32)
    run = session().run
    every = run([y, z, p], {x: value})
    assert [v.shape for v in every] == [(2, 4, 8, 8), (2, 4, 8, 8), (2, 4, 4, 4)]
    for tensor, whole in zip((y, z, p), every, strict=True):
        np.testing.assert_allclose(run(tensor, {x: value}), whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(run(p, {z: every[1]}), every[2])
    np.testing.assert_allclose(run(z, {y: every[0]}), every[1], rtol=1e-6)


def test_the_plan_and_errors_name_the_nodes_of_the_graph(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", (None, 3, 8, 8), name="image")
    y = ops.conv2d(x, rng.normal(size=(3, 3, 3, 4)).astype(np.float32), 1, "SAME", data_format="NCHW", name="one/conv")
    z = ops.sigmoid(ops.max_pool(y, 2, 2, data_format="NCHW", name="two/pool"), name="three")
    m = ops.reduce_mean(z, [2, 3], name="four")
    feeds = {x: np.ones((1, 3, 8, 8), np.float32)}
    for skipped in ((), NAMES):
        plan = session(skip_passes=skipped).plan(m, feeds)
        named = {step.node: step.op for step in plan.kernel_steps()}
        assert [name for name in named if name in ("one/conv", "two/pool", "three", "four")] == [
            "one/conv", "two/pool", "three", "four"
        ]  # fmt: skip
        assert all(f"{name} " in plan.explain() for name in ("one/conv", "two/pool", "three", "four"))


def test_wrong_uses_are_refused_and_say_in_which_order_shapes_are_given(graph: Graph, session: Make) -> None:
    w = np.ones((1, 1, 3, 2), np.float32)
    with pytest.raises(KigraphError, match="4 channels") as caught:
        ops.conv2d(np.ones((1, 4, 5, 5), np.float32), w, data_format="NCHW")
    assert "the node has them first" in str(caught.value.__notes__)
    with pytest.raises(UnsupportedOpError, match="over batch or channels"):
        add(
            graph,
            "Conv2D",
            [np.ones((1, 3, 5, 5), np.float32), w],
            strides=(1, 2, 2, 1),
            padding="SAME",
            data_format="NCHW",
        )
    with pytest.raises(GraphError, match="must have 4 entries"):
        add(graph, "Conv2D", [np.ones((1, 3, 5, 5), np.float32), w], strides=(1, 1), padding="SAME", data_format="NCHW")
    unknown = ops.placeholder("float32")
    y = ops.bias_add(unknown, np.ones(3, np.float32), data_format="NCHW")
    with pytest.raises(
        UnsupportedOpError, match=r"BiasAdd 'BiasAdd.*number of axes is not known.*give its placeholder"
    ):
        session().run(y, {unknown: np.ones((1, 3, 2, 2), np.float32)})
    with pytest.raises(UnsupportedOpError, match="NCHW_VECT_C"):
        ops.conv2d(np.ones((1, 3, 5, 5), np.float32), w, data_format="NCHW_VECT_C")


def test_an_image_of_unknown_rank_has_four_axes(graph: Graph, session: Make, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32")
    w = rng.normal(size=(1, 1, 3, 2)).astype(np.float32)
    y = ops.conv2d(x, w, data_format="NCHW")
    assert y.shape == (None, 2, None, None)
    value = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    wanted = np.einsum("nchw,co->nohw", value.astype(np.float64), w[0, 0])
    np.testing.assert_allclose(session().run(y, {x: value}), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4)])
def test_empty_tensors(graph: Graph, session: Make, shape: tuple[int, ...]) -> None:
    x = ops.placeholder("float32", (None, 3, None, 4))
    y = ops.relu(ops.conv2d(x, np.ones((1, 1, 3, 2), np.float32), 1, "SAME", data_format="NCHW"))
    assert session().run(y, {x: np.zeros(shape, np.float32)}).shape == (shape[0], 2, *shape[2:])
