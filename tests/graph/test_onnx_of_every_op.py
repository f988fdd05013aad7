"""Every op that ONNX files can have, written and run by onnx's ReferenceEvaluator next to the reference backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.errors import GraphError
from kigraph.graph.quantized import QUANTIZED_OPS
from kigraph.graph.session import Session
from kigraph.graph.writers.onnx import save_onnx
from kigraph.graph.writers.onnx_ops import WRITTEN
from tests.graph.test_getitem import KEYS, A
from tests.graph.test_shapes import CASES

onnx = pytest.importorskip("onnx", reason="needs onnx (extra dev)")

NDArray = np.ndarray[Any, Any]
#: A case of test_shapes that ONNX does not have, with what is tested instead.
INSTEAD: dict[str, dict[str, Any]] = {
    "MirrorPad": {"mode": "REFLECT"}, "Squeeze": {"squeeze_dims": (1,)}, "_FusedBatchNormEx": {"is_training": False},
}  # fmt: skip
#: Inputs that must be constants: weights and ranges.
CONSTANT = {
    "Conv2D", "DepthwiseConv2dNative", "_FusedConv2D", "_FusedDepthwiseConv2dNative", "Conv3D", "Reverse",
    "FakeQuantWithMinMaxVarsPerChannel", "ScaleAndTranslate",
}  # fmt: skip
#: Ops that are written for known sizes of axis 0 only: one that is sampled, or counted.
KNOWN = {"KiResample", "MatrixDeterminant"}


def written(graph: Graph, outputs: list[Tensor], feeds: dict[Tensor, NDArray], folder: Path) -> list[NDArray]:
    """The outputs according to onnx."""
    from onnx.reference import ReferenceEvaluator

    save_onnx(graph, folder / "op.onnx", [t.name for t in outputs])
    proto = onnx.load(folder / "op.onnx")
    onnx.checker.check_model(proto, full_check=True)
    return list(ReferenceEvaluator(proto).run(None, {t.op.name: v for t, v in feeds.items()}))


def compare(got: list[NDArray], want: list[NDArray]) -> None:
    for g, w in zip(got, want, strict=True):
        assert g.shape == np.shape(w)
        assert g.dtype == np.asarray(w).dtype
        np.testing.assert_allclose(np.asarray(g, np.float64), np.asarray(w, np.float64), rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("batch", ["known", "unknown"])
# onnx 1.23 gets LRN wrong (test_onnx_write.py), and its evaluator has no DequantizeLinear of opset 18: quantised layers are compared
# in tests/loaders/test_onnx_write_quantized.py.
@pytest.mark.parametrize("op", sorted(WRITTEN & set(CASES) - {"LRN"} - QUANTIZED_OPS))
def test_an_op_written_computes_the_same(op: str, batch: str, seed: int, tmp_path: Path) -> None:
    """Arrays of numbers are fed, with an unknown size of axis 0 or not; integers that say where or how many are constants."""
    rng = np.random.default_rng(seed)
    sizes = tuple(int(n) for n in rng.integers(2, 5, 4))
    arrays, attrs = CASES[op](sizes, rng)
    attrs = {**attrs, **INSTEAD.get(op, {})}
    if op == "Bitcast":
        arrays = [rng.integers(-128, 128, (sizes[0], 5)).astype(np.int8)]
    count = 6 if op in ("FusedBatchNormV3", "_FusedBatchNormEx") else None
    feeds: dict[Tensor, NDArray] = {}
    with Graph().as_default() as graph:
        given: list[Tensor] = []
        for i, array in enumerate(arrays):
            weights = i and (op in CONSTANT or "BatchNorm" in op)
            if array.ndim == 0 or (array.dtype.kind in "iu" and len(arrays) > 1) or weights:
                given.append(ops.constant(array, array.dtype))
                continue
            free = batch == "unknown" and op not in KNOWN
            shape = [None if free and axis == 0 else d for axis, d in enumerate(array.shape)]
            given.append(ops.placeholder(array.dtype, shape, name=f"x{i}"))
            feeds[given[-1]] = array
        operation = graph.create_op(op, given, attrs, "y", num_outputs=count)
    outputs = [t for t in operation.outputs if "BatchNorm" not in op or t.index == 0]
    want = Session(graph, backend="numpy").run(outputs, feeds)
    compare(written(graph, outputs, feeds, tmp_path), want)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_slices(key: Any, tmp_path: Path) -> None:
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", [None, 3, 4], name="x")
        y = ops.identity(x[key], name="y")
    compare(written(graph, [y], {x: A}, tmp_path), [A[key]])


def test_a_flatten_of_an_unknown_batch(seed: int, tmp_path: Path) -> None:
    """The end of a frozen VGG-16 or slim network: Shape, StridedSlice, Prod, Pack, Reshape."""
    x = np.random.default_rng(seed).standard_normal((3, 2, 4, 5)).astype(np.float32)
    with Graph().as_default() as graph:
        given = ops.placeholder("float32", [None, 2, None, 5], name="x")
        shape = ops.shape(given)
        flat = ops.reshape(given, ops.stack([shape[0], ops.reduce_prod(shape[1:])]))
        scaled = ops.reshape(flat * 2.0, ops.concat([shape[:1], [-1, 5]], 0))
        first = ops.gather(scaled, ops.argmax(ops.reduce_sum(scaled, [1, 2])), 0, name="first")
    compare(written(graph, [scaled, first], {given: x}, tmp_path), Session(graph).run([scaled, first], {given: x}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("op", ["FloorMod", "FloorDiv", "TruncateMod", "TruncateDiv"])
def test_remainders_of_all_signs(op: str, dtype: Any, tmp_path: Path) -> None:
    if op == "TruncateDiv" and np.dtype(dtype).kind == "f":
        pytest.skip("TruncateDiv is for integers")
    values = np.array([7, -7, 7, -7, 6, -6, 6, -6, 0, 0], dtype)
    divisors = np.array([3, 3, -3, -3, 3, 3, -3, -3, 5, -5], dtype)
    with Graph().as_default() as graph:
        x, y = ops.placeholder(dtype, [10], name="x"), ops.placeholder(dtype, [10], name="y")
        z = graph.create_op(op, [x, y], {}, "z").outputs[0]
    feeds = {x: values, y: divisors}
    compare(written(graph, [z], feeds, tmp_path), Session(graph, backend="numpy").run([z], feeds))


def test_log1p_keeps_digits(tmp_path: Path) -> None:
    values = np.array([1e-30, 1e-8, -1e-8, 1e-4, -0.9999, 0, 1, 1e30, np.inf, -1], np.float32)
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", [len(values)], name="x")
        y = ops.log1p(x, name="y")
    with np.errstate(all="ignore"):
        (got,) = written(graph, [y], {x: values}, tmp_path)
        np.testing.assert_allclose(got, np.log1p(values.astype(np.float64)).astype(np.float32), rtol=1e-6)


def test_what_onnx_lacks_is_refused_by_name(tmp_path: Path) -> None:
    with Graph().as_default() as graph:
        x = ops.placeholder("float32", [3, 4], name="x")
        ops.pad(x, [[1, 1], [0, 0]], "SYMMETRIC", name="y")
    with pytest.raises(GraphError, match=r"MirrorPad 'y'.*SYMMETRIC"):
        save_onnx(graph, tmp_path / "x.onnx")
