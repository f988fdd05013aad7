"""Converters of ONNX ops next to onnx's ReferenceEvaluator, with random inputs, odd sizes and NaN."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_files as files
import pytest

import kigraph as ki
from kigraph.graph.loaders import load
from kigraph.graph.opdefs import OPDEFS

F = "float32"
Case = tuple[str, dict[str, Any], list[Any], int]


def shaped(*shape: int, dtype: str = F) -> tuple[tuple[int, ...], str]:
    return shape, dtype


def conv(version: int = 17, x: Any = (2, 4, 9, 8), w: Any = (6, 4, 3, 2), bias: bool = True, **attrs: Any) -> Case:
    return "Conv", attrs, [shaped(*x), shaped(*w), *([shaped(w[0])] if bias else [])], version


def pool(op: str, version: int = 19, x: Any = (2, 3, 9, 8), **attrs: Any) -> Case:
    return op, {"kernel_shape": [3, 2], **attrs}, [shaped(*x)], version


#: (op, attributes, inputs: (shape, dtype) for random floats or an array, version of the operators)
CASES: list[Case] = [
    conv(), conv(7, pads=[1, 0, 2, 1], strides=[2, 1], dilations=[1, 3], bias=False), conv(group=2, w=(6, 2, 3, 2)),
    conv(group=4, w=(8, 1, 3, 2)), conv(auto_pad="SAME_UPPER", strides=[2, 3]),
    conv(auto_pad="SAME_LOWER", strides=[2, 3]), conv(auto_pad="SAME_LOWER"), conv(auto_pad="VALID"),
    conv(x=(2, 4, 9), w=(6, 4, 3), pads=[2, 1], strides=[2]), conv(x=(2, 4, 9), w=(8, 1, 3), group=4, dilations=[2]),
    conv(x=(0, 4, 9, 8)), conv(x=(2, 4, 1, 1), w=(6, 4, 1, 1), kernel_shape=[1, 1]),
    pool("MaxPool"), pool("MaxPool", strides=[2, 3], pads=[1, 0, 1, 1]), pool("MaxPool", ceil_mode=1, strides=[2, 2]),
    pool("MaxPool", ceil_mode=1, strides=[2, 3], pads=[1, 1, 0, 1]), pool("MaxPool", dilations=[2, 3], strides=[1, 2]),
    pool("MaxPool", x=(2, 3, 9), kernel_shape=[3], strides=[2], pads=[1, 0]),
    pool("MaxPool", auto_pad="SAME_UPPER", strides=[2, 2]),
    pool("AveragePool"), pool("AveragePool", strides=[2, 1], pads=[1, 1, 2, 0]),
    pool("AveragePool", strides=[2, 1], pads=[1, 1, 2, 0], count_include_pad=1),
    pool("AveragePool", strides=[2, 2], ceil_mode=1), pool("AveragePool", dilations=[2, 1], strides=[2, 1]),
    pool("AveragePool", dilations=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    pool("AveragePool", x=(2, 3, 9), kernel_shape=[3], strides=[2]),
    pool("LpPool", 18, p=3, pads=[1, 1, 0, 0]),
    ("GlobalAveragePool", {}, [shaped(2, 3, 4, 5)], 17), ("GlobalMaxPool", {}, [shaped(2, 3, 4, 5)], 17),
    *((op, {"axis": a}, [shaped(2, 3, 4)], 13) for op in ("Softmax", "LogSoftmax") for a in (1, -1)),
    ("BatchNormalization", {"epsilon": 0.01}, [shaped(2, 3, 4, 5), shaped(3), shaped(3), shaped(3), np.array([1, 2, 0.5], F)], 15),
    ("BatchNormalization", {}, [shaped(2, 3), shaped(3), shaped(3), shaped(3), np.array([1, 2, 0.5], F)], 15),
    ("LayerNormalization", {"axis": 1}, [shaped(2, 3, 4), shaped(3, 4), shaped(3, 4)], 17),
    ("InstanceNormalization", {}, [shaped(2, 3, 4, 5), shaped(3), shaped(3)], 17),
    ("GroupNormalization", {"num_groups": 2}, [shaped(2, 4, 3), shaped(4), shaped(4)], 21),
    ("LRN", {"size": 3, "alpha": 0.1}, [shaped(5, 5, 3, 4)], 13),
    ("LpNormalization", {}, [np.zeros((2, 3), F)], 22),
    ("Clip", {"min": -0.5}, [shaped(7)], 6 + 1), ("Clip", {}, [shaped(7), np.float32(0.5), np.float32(-0.5)], 13),
    ("Clip", {}, [shaped(7), np.float32(0), np.float32(6)], 13),
    *((op, {}, [shaped(3, 5)], 20) for op in ("Relu", "HardSigmoid", "HardSwish", "Softplus", "Gelu", "Mish", "Erf", "Round", "Sign")),
    ("Gelu", {"approximate": "tanh"}, [shaped(9)], 20), ("PRelu", {}, [shaped(2, 3, 4), shaped(3, 1)], 16),
    ("ThresholdedRelu", {"alpha": 0.3}, [shaped(9)], 17), ("Shrink", {"bias": 0.1, "lambd": 0.3}, [shaped(9)], 17),
    ("Div", {}, [np.array([7, -7, 6]), np.array([2, 2, -4])], 14), ("Mod", {}, [np.array([7, -7, 6]), np.array([3, 3, -4])], 13),
    ("Mod", {"fmod": 1}, [shaped(5), np.array([0.3, -0.3, 0.7, 0.5, 2], F)], 13),
    ("Pow", {}, [shaped(3), np.array(2)], 15), ("Pow", {}, [np.array([2, 3]), np.array([2.0, 3.0], F)], 15),
    ("Max", {}, [shaped(3, 1), shaped(2), shaped(1)], 13), ("Mean", {}, [shaped(3, 2), shaped(3, 2)], 13),
    ("Where", {}, [np.array([True, False]), shaped(3, 2), shaped(1)], 16), ("Xor", {}, [np.array([True, False]), np.array([True])], 7),
    ("IsInf", {"detect_negative": 0}, [np.array([np.inf, -np.inf, np.nan, 1], F)], 20),
    ("Gemm", {"alpha": 0.5, "beta": 2.0, "transA": 1, "transB": 1}, [shaped(3, 2), shaped(4, 3), shaped(4)], 13),
    ("MatMul", {}, [shaped(3), shaped(2, 3, 4)], 13), ("MatMul", {}, [shaped(2, 1, 3, 4), shaped(5, 4, 2)], 13),
    ("Slice", {"starts": [1, -3], "ends": [9, -1], "axes": [1, 2]}, [shaped(2, 3, 5)], 7),
    ("Slice", {}, [shaped(2, 3, 5), np.array([-1, 4]), np.array([-9, 0]), np.array([1, -1]), np.array([-1, -2])], 13),
    ("Slice", {}, [shaped(2, 3, 5), np.array([0]), np.array([(1 << 63) - 1]), np.array([2])], 13),
    ("Pad", {"pads": [0, 1, 2, 0], "value": 1.5}, [shaped(2, 3)], 7),
    ("Pad", {"mode": "reflect"}, [shaped(4, 5), np.array([1, 2, 3, 0])], 13),
    ("Pad", {"mode": "edge"}, [shaped(4, 5), np.array([1, 0, 3, 2])], 13), ("Pad", {"mode": "wrap"}, [shaped(4, 5), np.array([1, 2, 3, 0])], 19),
    ("Pad", {}, [shaped(4, 5), np.array([1, 2]), np.float32(7), np.array([-1])], 18),
    ("Gather", {"axis": 1}, [shaped(2, 3, 4), np.array([[-1, 0], [2, -3]])], 13), ("GatherElements", {"axis": -1}, [shaped(2, 3), np.array([[0, -1, 2], [1, 1, -3]])], 13),
    ("GatherND", {}, [shaped(2, 3, 4), np.array([[0, -1], [1, 1]])], 13), ("Expand", {}, [shaped(3, 1), np.array([2, 1, 4])], 13),
    ("Expand", {}, [shaped(3, 4), np.array([1, 1])], 13), ("Tile", {}, [shaped(2, 3), np.array([2, 0])], 13),
    ("Reshape", {}, [shaped(2, 3, 4), np.array([0, -1])], 14), ("Reshape", {"allowzero": 1}, [shaped(0, 3), np.array([3, 0])], 14),
    ("Flatten", {"axis": 2}, [shaped(2, 3, 4)], 13), ("Flatten", {"axis": 0}, [shaped(2, 3, 4)], 13), ("Flatten", {"axis": -1}, [shaped(2, 5, 4)], 13),
    ("Squeeze", {"axes": [0, -2]}, [shaped(1, 3, 1, 2)], 11), ("Unsqueeze", {}, [shaped(3, 2), np.array([0, -1])], 13),
    ("Transpose", {}, [shaped(2, 3, 4)], 13), ("Concat", {"axis": -1}, [shaped(2, 3), shaped(2, 1), shaped(2, 0)], 13),
    ("DepthToSpace", {"blocksize": 2}, [shaped(2, 8, 3, 2)], 13), ("DepthToSpace", {"blocksize": 2, "mode": "CRD"}, [shaped(2, 8, 3, 2)], 13),
    ("SpaceToDepth", {"blocksize": 2}, [shaped(2, 3, 4, 6)], 13), ("Shape", {"start": 1, "end": -1}, [shaped(2, 3, 4, 5)], 15),
    ("Cast", {"to": 6}, [np.array([1.9, -1.9, 0], F)], 13), ("ConstantOfShape", {"value": np.array([7])}, [np.array([2, 3])], 9),
    ("ReduceMean", {"axes": [-1], "keepdims": 0}, [shaped(2, 3, 4)], 13), ("ReduceMean", {}, [shaped(2, 3, 4), np.array([0, 2])], 18),
    ("ReduceSum", {"noop_with_empty_axes": 1}, [shaped(2, 3)], 13), ("ReduceL2", {"axes": [1]}, [shaped(2, 3)], 13),
    ("ReduceLogSumExp", {"axes": [1], "keepdims": 0}, [np.array([[1000.0, 1001], [-np.inf, 3]], F)], 13),
    ("ArgMax", {"axis": -1, "keepdims": 0}, [shaped(2, 3)], 13), ("TopK", {"axis": 0}, [shaped(5, 3), np.array([2])], 11),
    ("TopK", {"largest": 0}, [shaped(5, 3), np.array([2])], 11), ("Range", {}, [np.int64(2), np.int64(-5), np.int64(-2)], 11),
    ("QuantizeLinear", {"axis": 1}, [shaped(2, 3), np.array([0.01, 0.02, 0.3], F), np.array([1, 200, 0], np.uint8)], 13),
    ("QuantizeLinear", {}, [np.array([0.5, 1.5, 2.5, 1e9, -1e9], F), np.float32(1), np.int8(3)], 13),
    ("DequantizeLinear", {"axis": 0}, [np.array([[1, 255], [7, 0]], np.uint8), np.array([0.5, 2], F), np.array([128, 3], np.uint8)], 19),
    ("DynamicQuantizeLinear", {}, [shaped(3, 4)], 11),
    ("ConvInteger", {"pads": [1, 1, 1, 1]}, [np.arange(18, dtype=np.uint8).reshape(1, 2, 3, 3), np.arange(18, dtype=np.uint8).reshape(1, 2, 3, 3), np.uint8(3), np.uint8(9)], 10),
    ("MatMulInteger", {}, [np.arange(12, dtype=np.uint8).reshape(3, 4), np.arange(8, dtype=np.int8).reshape(4, 2), np.uint8(3), np.int8(1)], 10),
]  # fmt: skip


def arrays(case: Case, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=c[0]).astype(c[1]) if isinstance(c, tuple) else np.asarray(c) for c in case[2]]


def outputs_of(op: str) -> list[str]:
    return ["y", "z", "u"][: {"TopK": 2, "DynamicQuantizeLinear": 3}.get(op, 1)]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[3]}")
@pytest.mark.parametrize("given", ["constants", "unknown sizes"])
def test_against_onnx(case: Case, given: str, tmp_path: Path, seed: int) -> None:
    """The first input is fed, with its shape known or only its rank; the others are constants."""
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    op, attrs, _, version = case
    values = arrays(case, seed)
    names = [f"x{i}" for i in range(len(values))]
    shape = values[0].shape if given == "constants" else [f"d{i}" for i in range(values[0].ndim)]
    if given == "unknown sizes" and (names_known(case) or values[0].ndim == 0):
        pytest.skip("needs the sizes")
    content = files.model(
        [files.node(op, names, outputs_of(op), **attrs)], {"x0": (values[0].dtype, shape)}, outputs_of(op),
        dict(zip(names[1:], values[1:], strict=True)), opset=version,
    )  # fmt: skip
    want = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x0": values[0]})
    found = files.run(tmp_path / "m.onnx", content, outputs_of(op), {"x0": values[0]})
    for got, expected in zip(found, want, strict=True):
        expected = np.asarray(expected)
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def names_known(case: Case) -> bool:
    """Converters that need a size while the file is read, and say so."""
    op, attrs = case[0], case[1]
    if op in ("Conv", "MaxPool", "AveragePool"):
        return "ceil_mode" in attrs or attrs.get("auto_pad", "").startswith("SAME") or attrs.get("group", 1) > 1
    return op in ("DepthToSpace", "SpaceToDepth", "GroupNormalization") or attrs.get("mode") == "wrap"


def test_what_the_evaluator_of_onnx_does_not_do(tmp_path: Path) -> None:
    """Next to NumPy: softmax over several axes, SAME_LOWER, negative padding, sizes of 0, all minus infinity."""
    x = np.random.default_rng(5).normal(size=(2, 3, 4)).astype(F)
    whole = np.exp(x) / np.exp(x).sum((1, 2), keepdims=True)
    low = np.full((1, 2), -np.inf, F)
    image = np.arange(9, dtype=F).reshape(1, 1, 3, 3)
    empty = np.zeros((2, 0, 4), F)
    cases: list[tuple[str, dict[str, Any], list[Any], Any, int]] = [
        ("Softmax", {}, [x], whole, 11), ("LogSoftmax", {"axis": -2}, [x], np.log(whole), 12),
        ("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER"}, [image], [[[[0, 1, 2], [3, 4, 5], [6, 7, 8]]]], 12),
        ("Pad", {"pads": [0, -1, 1, 0, 0, -2]}, [x], np.pad(x[:, 1:, :2], ((0, 0), (0, 0), (1, 0))), 10),
        ("Flatten", {"axis": 1}, [empty], np.zeros((2, 0)), 13), ("Flatten", {"axis": 2}, [empty], np.zeros((0, 4)), 13),
        ("ReduceLogSumExp", {"axes": [1]}, [low], [[-np.inf]], 13), ("Mean", {}, [x, x[0]], (x + x[0]) / 2, 13),
        ("LpNormalization", {"axis": 1, "p": 1}, [x], x / np.abs(x).sum(1, keepdims=True), 22),
        ("GlobalMaxPool", {}, [x], x.max(2, keepdims=True), 13),
    ]  # fmt: skip
    for op, attrs, values, want, version in cases:
        names = [f"x{i}" for i in range(len(values))]
        inputs = {name: (F, value.shape) for name, value in zip(names, values, strict=True)}
        content = files.model([files.node(op, names, ["y"], **attrs)], inputs, ["y"], opset=version)
        (y,) = files.run(tmp_path / "m.onnx", content, ["y"], dict(zip(names, values, strict=True)))
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6, err_msg=op)


def test_convolutions_of_integers_are_exact(tmp_path: Path, seed: int) -> None:
    """On the backend that is fastest here, with a window that Winograd's algorithm serves."""
    rng = np.random.default_rng(seed)
    x, w = (
        rng.integers(0, 256, (1, 16, 14, 14)).astype(np.uint8),
        rng.integers(-128, 128, (16, 16, 3, 3)).astype(np.int8),
    )
    content = files.model(
        [files.node("ConvInteger", ["x", "w", "z"], ["y"])],
        {"x": ("uint8", x.shape)},
        ["y"],
        {"w": w, "z": np.uint8(7)},
    )
    (tmp_path / "m.onnx").write_bytes(content)
    (y,) = ki.Session(load(tmp_path / "m.onnx").graph).run(["y"], {"x": x})
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64) - 7, (3, 3), (2, 3))
    np.testing.assert_array_equal(y, np.einsum("nchwij,ocij->nohw", windows, w.astype(np.int64)))


def test_nan_is_not_lost(tmp_path: Path) -> None:
    nodes = [files.node("Clip", ["x", "lo", "hi"], ["a"]), files.node("HardSwish", ["x"], ["b"])]
    nodes += [files.node("MaxPool", ["p"], ["c"], kernel_shape=[2], pads=[1, 0]), files.node("IsNaN", ["x"], ["d"])]
    nodes += [
        files.node("ReduceMax", ["x"], ["e"]),
        files.node("Relu", ["x"], ["f"]),
        files.node("PRelu", ["x", "lo"], ["g"]),
    ]
    content = files.model(
        nodes, {"x": (F, (3,)), "p": (F, (1, 1, 3))}, list("abcdefg"), {"lo": np.float32(0.1), "hi": np.float32(5)}
    )
    x = np.array([np.nan, 1, 2], np.float32)
    found = files.run(tmp_path / "m.onnx", content, list("abcdefg"), {"x": x, "p": x.reshape(1, 1, 3)})
    for y in (found[0], found[1], found[5], found[6]):
        assert np.isnan(y).tolist() == [True, False, False]
    assert np.isnan(found[2]).reshape(-1).tolist() == [True, True, False]
    assert found[3].tolist() == [True, False, False]
    assert np.isnan(found[4]).all()


def test_shapes_that_follow_the_batch(tmp_path: Path) -> None:
    """What exporters write for x.view(x.size(0), -1): the sizes stay known as far as they are."""
    nodes = [
        files.node("Shape", ["x"], ["s"]), files.node("Gather", ["s", "zero"], ["n"]),
        files.node("Unsqueeze", ["n", "axes"], ["u"]), files.node("Concat", ["u", "rest"], ["t"], axis=0),
        files.node("Reshape", ["x", "t"], ["y"]),
    ]  # fmt: skip
    constants = {"zero": np.int64(0), "axes": np.array([0]), "rest": np.array([6])}
    content = files.model(nodes, {"x": (F, ("n", 2, 3))}, ["y"], constants)
    (tmp_path / "m.onnx").write_bytes(content)
    graph = load(tmp_path / "m.onnx").graph
    assert graph.tensor("y").shape == (None, 6)
    session = ki.Session(graph, backend="numpy")
    for n in (0, 1, 5):
        x = np.random.default_rng(n).normal(size=(n, 2, 3)).astype(F)
        np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], x.reshape(n, 6))


def test_a_branch_that_is_known(tmp_path: Path) -> None:
    then = files.graph([files.node("Add", ["x", "one"], ["a"])], {}, ["a"], {"one": np.float32(1)})
    other = files.graph([files.node("Neg", ["x"], ["a"])], {}, ["a"])
    for flag, want in ((True, 3), (False, -2)):
        nodes = [files.node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
        content = files.model(nodes, {"x": (F, ())}, ["y"], {"c": np.array(flag)})
        assert files.run(tmp_path / "m.onnx", content, ["y"], {"x": np.float32(2)})[0] == want


def test_what_the_ops_of_tensorflow_compute(tmp_path: Path) -> None:
    """Ops that lean on op types of their own: each where kigraph has it."""
    cases: list[tuple[str, str, dict[str, Any], list[Any], Any]] = [
        ("Bitcast", "Cast", {"to": 16}, [np.array([1 + 2**-8, 1 + 3 * 2**-8, -np.inf, 3e38], F)], [1, 1 + 2**-6, -np.inf, 3.00406e38]),
        ("LeakyRelu", "LeakyRelu", {"alpha": 0.5}, [np.array([-2, 3], F)], [-1, 3]),
        ("Elu", "Elu", {"alpha": 2.0}, [np.array([0, 3], F)], [0, 3]),
        ("KiTriangle", "Trilu", {"upper": 0}, [np.ones((2, 2), F)], [[1, 0], [1, 1]]),
        ("Cumsum", "CumSum", {"reverse": 1}, [np.array([1, 2, 3], F), np.int64(0)], [6, 5, 3]),
        ("Einsum", "Einsum", {"equation": "ij,jk"}, [np.eye(2, dtype=F), np.eye(2, dtype=F)], [[1, 0], [0, 1]]),
        ("OneHot", "OneHot", {}, [np.array([1, -1, 5]), np.int64(3), np.array([0, 1], F)], [[0, 1, 0], [0, 0, 1], [0, 0, 0]]),
        ("TensorScatterUpdate", "ScatterND", {}, [np.zeros(3, F), np.array([[-1]]), np.array([5], F)], [0, 0, 5]),
        ("KiResample", "Resize", {"mode": "nearest"}, [np.array([[[[1, 2]]]], F), None, np.array([1, 1, 1, 2], F)], [[[[1, 1, 2, 2]]]]),
    ]  # fmt: skip
    tried = 0
    for needs, op, attrs, values, want in cases:
        if needs not in OPDEFS:
            continue
        names = [f"x{i}" if v is not None else "" for i, v in enumerate(values)]
        constants = {k: v for k, v in list(zip(names, values, strict=True))[1:] if k}
        content = files.model(
            [files.node(op, names, ["y"], **attrs)], {"x0": (values[0].dtype, values[0].shape)}, ["y"], constants
        )
        (y,) = files.run(tmp_path / "m.onnx", content, ["y"], {"x0": values[0]})
        np.testing.assert_allclose(y, want, rtol=1e-4)
        tried += 1
    if not tried:
        pytest.skip("kigraph has none of these op types")


def test_the_backend_of_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    import kigraph.onnx_backend as backend

    node = onnx.helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    x = np.arange(6, dtype=F).reshape(2, 3)
    (y,) = backend.run_node(node, [x, np.array([1])])
    np.testing.assert_array_equal(y, [3, 12])
    model = onnx.load_from_string(files.model([files.node("Relu", ["x"], ["y"])], {"x": (F, (2,))}, ["y"]))
    assert backend.supports_device("CPU")
    assert not backend.supports_device("TPU")
    assert backend.is_compatible(model)
    result = backend.prepare(model).run([np.array([-1, 2], F)])
    np.testing.assert_array_equal(result["y"], [0, 2])
    strange = onnx.load_from_string(files.model([files.node("Strange", ["x"], ["y"])], {"x": (F, (2,))}, ["y"]))
    assert not backend.is_compatible(strange)
    # A small input whose value an op needs while the model is read: once for each value.
    pads = onnx.load_from_string(
        files.model([files.node("Unsqueeze", ["x", "a"], ["y"])], {"x": (F, (2,)), "a": ("int64", (1,))}, ["y"])
    )
    ready = backend.prepare(pads)
    for axis, shape in ((0, (1, 2)), (1, (2, 1))):
        assert ready.run([np.zeros(2, F), np.array([axis])])[0].shape == shape
