"""Ops that ONNX files have as several: special values, every way of resizing, what has no random case in test_shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.errors import GraphError
from kigraph.graph.session import Session
from kigraph.graph.writers.onnx import save_onnx

onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")

NDArray = np.ndarray[Any, Any]
F32 = np.float32


def both(
    kind: str, arrays: list[NDArray], attrs: dict[str, Any], fed: int, folder: Path
) -> tuple[list[NDArray], list[NDArray]]:
    """What onnx and the reference backend compute; the first ``fed`` inputs are fed, the others are constants."""
    from onnx.reference import ReferenceEvaluator

    with Graph().as_default() as graph:
        given = [
            ops.placeholder(a.dtype, a.shape, name=f"x{i}") if i < fed else ops.constant(a, a.dtype)
            for i, a in enumerate(arrays)
        ]
        made = graph.create_op(kind, given, attrs, "y")
    feeds = dict(zip(given[:fed], arrays, strict=False))
    want = [np.asarray(v) for v in Session(graph, backend="numpy").run(list(made.outputs), feeds)]
    save_onnx(graph, folder / "op.onnx", [t.name for t in made.outputs])
    proto = onnx.load(folder / "op.onnx")
    onnx.checker.check_model(proto, full_check=True)
    with np.errstate(all="ignore"):
        got = ReferenceEvaluator(proto).run(None, {t.op.name: a for t, a in feeds.items()})
    return list(map(np.asarray, got)), want


def check(kind: str, arrays: list[NDArray], attrs: dict[str, Any], fed: int, folder: Path, rtol: float = 2e-6) -> None:
    got, want = both(kind, arrays, attrs, fed, folder)
    for g, w in zip(got, want, strict=True):
        assert (g.dtype, g.shape) == (w.dtype, w.shape)
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol)


SIGNED = np.array([0.0, -0.0, 1, -1, 1e-30, -1e-8, 3, -7, np.inf, -np.inf, np.nan], F32)


@pytest.mark.parametrize("kind", ["Atan2", "DivNoNan", "MulNoNan", "Xdivy", "Xlogy", "Xlog1py"])
def test_two_operands_of_every_sign(kind: str, tmp_path: Path) -> None:
    a, b = (np.ascontiguousarray(v.ravel()) for v in np.meshgrid(SIGNED, SIGNED))
    with np.errstate(all="ignore"):
        (got,), (want,) = both(kind, [a, b], {}, 2, tmp_path)
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=0)
    if kind == "Atan2":
        np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(want[~np.isnan(want)]))


def test_expm1_keeps_digits(tmp_path: Path) -> None:
    x = np.array([1e-30, -1e-8, 1e-4, 0, -0.3, 1, 20, 100, -100, np.inf, -np.inf, np.nan], F32)
    with np.errstate(all="ignore"):
        check("Expm1", [x], {}, 1, tmp_path)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64"])
@pytest.mark.parametrize("kind", ["LeftShift", "RightShift"])
def test_shifts_of_every_integer(kind: str, dtype: str, seed: int, tmp_path: Path) -> None:
    info = np.iinfo(dtype)
    x = np.random.default_rng(seed).integers(info.min, info.max, 40, dtype=dtype, endpoint=True)
    x[:2] = info.min, info.max
    by = (np.arange(40) % (info.bits + 2)).astype(dtype)
    (got,), (want,) = both(kind, [x, by], {}, 2, tmp_path)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("a", "b"), [("int8", "uint8"), ("uint8", "int8"), ("int32", "uint32"), ("uint16", "int16")])
def test_bits_of_integers(a: str, b: str, tmp_path: Path) -> None:
    info = np.iinfo(a)
    x = np.array([info.min, info.max, 0, 1, info.max // 2, info.max // 2 + 1], a)
    (got,), (want,) = both("Bitcast", [x], {"type": np.dtype(b)}, 1, tmp_path)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == b


RESIZES: list[tuple[str, dict[str, Any]]] = [
    *((k, f) for k in ("ResizeNearestNeighbor", "ResizeBicubic", "ResizeBilinear")
      for f in ({}, {"align_corners": True}, {"half_pixel_centers": True})),
    ("ResizeArea", {}), ("ResizeArea", {"align_corners": True}),
]  # fmt: skip


@pytest.mark.parametrize("size", [(10, 14), (3, 5), (5, 7), (1, 21)])
@pytest.mark.parametrize(("kind", "attrs"), RESIZES)
def test_resizing(kind: str, attrs: dict[str, Any], size: tuple[int, int], seed: int, tmp_path: Path) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 5, 7, 3)).astype(F32)
    check(kind, [x, np.array(size, np.int32)], attrs, 1, tmp_path, 1e-5)


SAMPLED: list[dict[str, Any]] = [
    {"kind": "linear", "coordinates": "half_pixel"}, {"kind": "cubic", "coordinates": "half_pixel"},
    {"kind": "cubic", "coordinates": "asymmetric", "exclude_outside": True, "cubic_a": -0.5},
    {"kind": "linear", "coordinates": "half_pixel", "antialias": True},
    {"kind": "nearest", "coordinates": "half_pixel", "rounding": "ceil"},
    {"kind": "nearest", "coordinates": "asymmetric", "rounding": "floor"},
    {"kind": "linear", "coordinates": "half_pixel_symmetric"}, {"kind": "linear", "coordinates": "pytorch_half_pixel"},
    {"kind": "linear", "coordinates": "tf_crop_and_resize", "roi": (-0.2, 0.9, 0.1, 1.3), "extrapolate": True, "value": 7.0},
]  # fmt: skip


@pytest.mark.parametrize(
    "sizes", [np.array([10, 14], np.int64), np.array([4, 3], np.int64), np.array([1.7, 0.6], F32)], ids=str
)
@pytest.mark.parametrize("attrs", SAMPLED, ids=lambda a: f"{a['kind']}-{a['coordinates']}")
def test_sampling(attrs: dict[str, Any], sizes: NDArray, seed: int, tmp_path: Path) -> None:
    x = np.random.default_rng(seed).standard_normal((2, 5, 7, 3)).astype(F32)
    check("KiResample", [x, sizes], {"axes": (1, 2), **attrs}, 1, tmp_path, 1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("stride", "dilation", "size"), [(1, 1, 5), (2, 1, 10), (2, 1, 9), (3, 1, 13), (1, 2, 6)])
def test_transposed_convolutions(
    stride: int, dilation: int, size: int, padding: str, seed: int, tmp_path: Path
) -> None:
    rng, effective = np.random.default_rng(seed), 2 * dilation + 1
    rows = -(-size // stride) if padding == "SAME" else -(-(size - effective + 1) // stride)
    if rows < 1:
        pytest.skip("nothing is left of this size")
    attrs = {"strides": (1, stride, stride, 1), "dilations": (1, dilation, dilation, 1), "padding": padding}
    dy = rng.standard_normal((2, rows, rows, 4)).astype(F32)
    sizes = np.array([2, size, size, 3], np.int32)
    # One filter for each channel: of several, onnx's evaluator takes those of another group.
    for kind, w in (("Conv2DBackpropInput", (3, 3, 3, 4)), ("DepthwiseConv2dNativeBackpropInput", (3, 3, 4, 1))):
        sizes[3] = w[2]
        with Graph().as_default() as graph:
            given = ops.placeholder("float32", dy.shape, name="x")
            w_ = ops.constant(rng.standard_normal(w).astype(F32))
            y = graph.create_op(kind, [ops.constant(sizes), w_, given], attrs, "y").outputs[0]
        want = Session(graph, backend="numpy").run(y, {given: dy})
        save_onnx(graph, tmp_path / "op.onnx")
        from onnx.reference import ReferenceEvaluator

        (got,) = ReferenceEvaluator(onnx.load(tmp_path / "op.onnx")).run(None, {"x": dy})
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_where_and_unique(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, (4, 5)).astype(F32)
    check("Where", [x], {}, 1, tmp_path)
    for kind in ("Unique", "UniqueWithCounts"):
        check(kind, [x.ravel()], {}, 1, tmp_path)
    check(
        "UniqueV2", [x.ravel().astype(np.int64), np.array([0], np.int32)], {"out_idx": np.dtype(np.int64)}, 1, tmp_path
    )
    with pytest.raises(GraphError, match="UniqueV2 'y' cannot be written"):
        both("UniqueV2", [x, np.array([1], np.int32)], {}, 1, tmp_path)


@pytest.mark.parametrize("version", ["", "V2", "V3"])
def test_suppression_of_boxes(version: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.random((30, 2)).astype(F32)
    boxes = np.concatenate([corners, corners + rng.random((30, 2)).astype(F32) * 0.5], 1)
    scores = rng.permutation(30).astype(F32) / 30
    limits = [np.array(v, F32) for v in {"": (), "V2": (0.4,), "V3": (0.4, 0.3)}[version]]
    check(f"NonMaxSuppression{version}", [boxes, scores, np.array(8, np.int32), *limits], {}, 2, tmp_path)


@pytest.mark.parametrize("mode", ["MIN_COMBINED", "MIN_FIRST", "SCALED"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_quantised_numbers(mode: str, dtype: str, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    ends = [np.array(-1.5, F32), np.array(4, F32)]
    x = (rng.standard_normal((50,)) * 3).astype(F32)
    (got, *_), (want, *_) = both("QuantizeV2", [x, *ends], {"T": np.dtype(dtype), "mode": mode}, 1, tmp_path)
    np.testing.assert_array_equal(got, want)
    check("Dequantize", [want, *ends], {"mode": mode}, 1, tmp_path)


@pytest.mark.parametrize("ends", [(-1, 4), (0, 6), (0.5, 3), (0, 0)])
def test_fake_quantised_numbers(ends: tuple[float, float], seed: int, tmp_path: Path) -> None:
    x = (np.random.default_rng(seed).standard_normal((3, 50)) * 3).astype(F32)
    for narrow in (False, True):
        attrs = {"num_bits": 6, "narrow_range": narrow}
        check("FakeQuantWithMinMaxVars", [x, *(np.array(v, F32) for v in ends)], attrs, 1, tmp_path)


@pytest.mark.parametrize("seq", [(1, 0), (0, 1), (2, 1)])
def test_sequences_backwards(seq: tuple[int, int], seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, 4, 5)).astype(F32)
    sequence, batch = seq
    lengths = rng.integers(1, x.shape[sequence] + 1, x.shape[batch])
    check("ReverseSequence", [x, lengths], {"seq_dim": sequence, "batch_dim": batch}, 2, tmp_path)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(7, 9), (None, None)])
def test_dilations_with_same_padding(
    size: tuple[int | None, int | None], stride: int, seed: int, tmp_path: Path
) -> None:
    """As numbers, which every program reads, unless they depend on a size that is not known."""
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((2, 7, 9, 3)).astype(F32), rng.standard_normal((3, 2, 3, 4)).astype(F32)
    with Graph().as_default() as graph:
        given = ops.placeholder("float32", (None, *size, 3), name="x")
        attrs = {"strides": (1, stride, stride, 1), "dilations": (1, 2, 3, 1), "padding": "SAME"}
        y = graph.create_op("Conv2D", [given, ops.constant(w)], attrs, "y").outputs[0]
    save_onnx(graph, tmp_path / "op.onnx")
    proto = onnx.load(tmp_path / "op.onnx")
    names = {a.name for n in proto.graph.node if n.op_type == "Conv" for a in n.attribute}
    assert ("pads" in names) == (size[0] is not None or stride == 1)
    if "pads" in names:
        (got,) = ReferenceEvaluator(proto).run(None, {"x": x})
        np.testing.assert_allclose(got, Session(graph, backend="numpy").run(y, {given: x}), rtol=1e-4, atol=1e-4)


def test_dropout_and_branches_of_a_default(seed: int, tmp_path: Path) -> None:
    """What a default decides is decided in the file, which has no such input."""
    from onnx.reference import ReferenceEvaluator

    x = np.random.default_rng(seed).standard_normal((3, 4)).astype(F32)
    with Graph().as_default() as graph:
        given = ops.placeholder("float32", (None, 4), name="x")
        keep = graph.create_op("PlaceholderWithDefault", [ops.constant(F32(1))], {"shape": ()}, "keep").outputs[0]
        training = graph.create_op("PlaceholderWithDefault", [ops.constant(False)], {"shape": ()}, "training").outputs[
            0
        ]
        uniform = graph.create_op("RandomUniform", [ops.shape(given)], {"dtype": np.dtype(F32)}, "u").outputs[0]
        dropped = (given / keep) * ops.floor(keep + uniform)
        off, on = graph.create_op("Switch", [dropped, training], {}, "switch").outputs
        graph.create_op("Merge", [off * 2.0, on * 3.0], {"N": 2}, "y")
    save_onnx(graph, tmp_path / "op.onnx", ["y:0"])
    proto = onnx.load(tmp_path / "op.onnx")
    assert [i.name for i in proto.graph.input] == ["x"]
    (got,) = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_allclose(got, 2 * x, rtol=1e-6)


def test_a_branch_that_a_feed_decides_is_an_if(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    with Graph().as_default() as graph:
        given, which = ops.placeholder("float32", (4,), name="x"), ops.placeholder("bool", (), name="which")
        off, on = graph.create_op("Switch", [given, which], {}, "switch").outputs
        graph.create_op("Merge", [off * 2.0, on * 3.0], {"N": 2}, "y")
    save_onnx(graph, tmp_path / "op.onnx", ["y:0"])
    proto, x = onnx.load(tmp_path / "op.onnx"), np.arange(4, dtype=np.float32)
    assert [node.op_type for node in proto.graph.node].count("If") == 1
    for value, factor in ((False, 2), (True, 3)):
        (got,) = ReferenceEvaluator(proto).run(None, {"x": x, "which": np.array(value)})
        np.testing.assert_array_equal(got, factor * x)
