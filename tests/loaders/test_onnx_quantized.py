"""Quantised layers of ONNX files in integers, against sums of 64-bit integers: QDQ models, ONNX Runtime's ops, what is not fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.formats.onnx import NodeProto
from kigraph.graph.loaders import load
from kigraph.kernels.backends import available_backends
from tests.loaders import onnx_files as files

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(23)
F32 = np.float32
REALS = {"Conv2D", "DepthwiseConv2dNative", "MatMul", "AddV2", "Mul", "AvgPool", "Mean", "Relu", "Pad"}
KINDS = {"int8": (-128, 127), "uint8": (0, 255)}


class Model:
    """Nodes and constants of a file; names are given by the caller."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Any] = {}

    def add(self, op: str, inputs: Sequence[str], output: str, domain: str = "", **attrs: Any) -> str:
        self.nodes.append(files.node(op, inputs, [output], domain, **attrs))
        return output

    def grid(self, name: str, scale: Any, zero: Any, kind: str) -> list[str]:
        self.constants |= {f"{name}_s": np.asarray(scale, F32), f"{name}_z": np.asarray(zero, kind)}
        return [f"{name}_s", f"{name}_z"]

    def real(self, q: str, grid: Sequence[str], **attrs: Any) -> str:
        return self.add("DequantizeLinear", [q, *grid], f"{q}_real", **attrs)

    def weights(self, name: str, value: Array, scale: Any, axis: int = 0) -> str:
        """Dequantised weights around 0."""
        self.constants[name] = value
        zero = np.zeros(np.shape(scale), value.dtype)
        return self.real(name, self.grid(name, scale, zero, value.dtype.name), axis=axis)

    def run(
        self, path: Path, outputs: Sequence[str], inputs: Mapping[str, Array], *, backend: str = "numpy"
    ) -> tuple[list[Any], set[str]]:
        """The outputs, and the types of operations that they need."""
        shapes = {k: (v.dtype.name, v.shape) for k, v in inputs.items()}
        (path / "m.onnx").write_bytes(files.model(self.nodes, shapes, outputs, self.constants))
        graph = load(path / "m.onnx").graph
        assert graph is not None
        session = ki.Session(graph, backend=backend)
        found = session.run(list(outputs), dict(inputs))
        return found, {o.type for o in graph.operations}


def whole(kind: str, *shape: int) -> Array:
    return RNG.integers(KINDS[kind][0], KINDS[kind][1] + 1, shape).astype(kind)


def requantised(total: Array, factor: Any, zero: int, kind: str, low: float = -np.inf, high: float = np.inf) -> Array:
    limits = KINDS[kind]
    steps = np.rint(total.astype(F32) * np.asarray(factor, F32)).astype(np.int64) + zero
    return np.clip(steps, max(limits[0], low), min(limits[1], high)).astype(kind)


def convolved(x: Array, w: Array) -> Array:
    """NCHW, 3 x 3, padded with 0 by 1, exact."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    groups = x.shape[1] // w.shape[1]
    parts = [
        np.einsum("nchwij,ocij->nohw", v, f)
        for v, f in zip(np.split(views, groups, 1), np.split(w, groups, 0), strict=True)
    ]
    return np.concatenate(parts, 1)


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize(("group", "per_channel"), [(1, True), (1, False), (2, True), (4, False), (4, True)])
@pytest.mark.parametrize("activation", ["", "Relu", "Clip"])
def test_a_convolution_between_integers(
    tmp_path: Path, kind: str, group: int, per_channel: bool, activation: str
) -> None:
    m, zero, (xs, ys) = Model(), 7 if kind == "int8" else 118, (F32(0.03), F32(0.11))
    w, bias = whole("int8", 8, 4 // group, 3, 3), RNG.integers(-999, 999, 8).astype(np.int32)
    ws = RNG.uniform(0.01, 0.05, 8).astype(F32) if per_channel else F32(0.02)
    weights, given, result = m.weights("w", w, ws), m.grid("x", xs, zero, kind), m.grid("y", ys, zero, kind)
    m.constants["b"] = bias
    biases = m.real("b", m.grid("b", xs * ws, np.zeros(np.shape(ws)), "int32"), axis=0)
    y = m.add("Conv", [m.real("x", given), weights, biases], "c", pads=[1, 1, 1, 1], group=group)
    low, high = -np.inf, np.inf
    if activation == "Relu":
        y, low = m.add("Relu", [y], "a"), zero
    elif activation == "Clip":
        m.constants |= {"least": F32(-1), "most": F32(6)}
        y, low, high = m.add("Clip", [y, "least", "most"], "a"), zero + np.rint(-1 / ys), zero + np.rint(6 / ys)
    m.add("QuantizeLinear", [y, *result], "y")
    x = whole(kind, 2, 4, 5, 6)
    (got,), types = m.run(tmp_path, ["y"], {"x": x})
    total = convolved(x.astype(np.int64) - zero, w.astype(np.int64)) + bias.reshape(-1, 1, 1)
    factor = np.broadcast_to(ws * xs / ys, 8).reshape(-1, 1, 1)
    np.testing.assert_array_equal(got, requantised(total, factor, zero, kind, low, high))
    assert not types & REALS
    assert types & {"KiQuantizedConv2D", "KiQuantizedDepthwiseConv2D"}


def test_uint8_weights_around_128(tmp_path: Path) -> None:
    m = Model()
    w = whole("uint8", 3, 2, 3, 3)
    m.constants["w"] = w
    weights = m.real("w", m.grid("w", 0.02, 128, "uint8"))
    given, result = m.grid("x", 0.05, 3, "uint8"), m.grid("y", 0.5, 100, "uint8")
    m.add("Conv", [m.real("x", given), weights], "c", pads=[1, 1, 1, 1])
    m.add("QuantizeLinear", ["c", *result], "y")
    x = whole("uint8", 1, 2, 4, 4)
    (got,), types = m.run(tmp_path, ["y"], {"x": x})
    total = convolved(x.astype(np.int64) - 3, w.astype(np.int64) - 128)
    np.testing.assert_array_equal(got, requantised(total, F32(0.02) * F32(0.05) / F32(0.5), 100, "uint8"))
    assert not types & REALS


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_products(tmp_path: Path, op: str) -> None:
    m, (xs, ys) = Model(), (F32(0.04), F32(0.3))
    units, taken = 5, 7
    ws = RNG.uniform(0.01, 0.05, units).astype(F32)
    w = whole("int8", *((units, taken) if op == "Gemm" else (taken, units)))
    inputs = [m.real("x", m.grid("x", xs, -9, "int8")), m.weights("w", w, ws, 0 if op == "Gemm" else 1)]
    bias = np.zeros(units, np.int32)
    if op == "Gemm":
        bias = m.constants["b"] = RNG.integers(-999, 999, units).astype(np.int32)
        inputs.append(m.real("b", m.grid("b", xs * ws, np.zeros(units), "int32"), axis=0))
    m.add(op, inputs, "c", **({"transB": 1} if op == "Gemm" else {}))
    m.add("QuantizeLinear", ["c", *m.grid("y", ys, 4, "int8")], "y")
    x = whole("int8", 6, taken)
    (got,), types = m.run(tmp_path, ["y"], {"x": x})
    total = (x.astype(np.int64) + 9) @ (w.T if op == "Gemm" else w).astype(np.int64) + bias
    np.testing.assert_array_equal(got, requantised(total, ws * xs / ys, 4, "int8"))
    assert not types & REALS


def test_sums_products_and_concatenations(tmp_path: Path) -> None:
    m = Model()
    a, b = (m.real(n, m.grid(n, s, z, "uint8")) for n, s, z in (("a", 0.1, 10), ("b", 0.03, 200)))
    for op, scale in (("Add", 0.12), ("Mul", 0.9)):
        m.add("QuantizeLinear", [m.add(op, [a, b], op), *m.grid(op, scale, 99, "uint8")], f"{op}_y")
    m.add("QuantizeLinear", [m.add("Concat", [a, b], "j", axis=1), *m.grid("j", 0.1, 10, "uint8")], "j_y")
    x, z = whole("uint8", 3, 4), whole("uint8", 3, 4)
    (added, product, joined), types = m.run(tmp_path, ["Add_y", "Mul_y", "j_y"], {"a": x, "b": z})
    p, q = x.astype(np.int64) - 10, z.astype(np.int64) - 200
    near = p * 0.1 / 0.12 + q * 0.03 / 0.12
    assert (np.abs(added - np.clip(near + 99, 0, 255)) <= 0.5 + 1e-4).all()
    near = p * q * 0.1 * 0.03 / 0.9
    assert (np.abs(product - np.clip(near + 99, 0, 255)) <= 0.5 + 1e-4).all()
    np.testing.assert_array_equal(joined[:, :4], x)
    near = q * 0.03 / 0.1
    assert (np.abs(joined[:, 4:] - np.clip(near + 10, 0, 255)) <= 0.5 + 1e-4).all()
    assert not types & REALS


def test_what_moves_elements_moves_bytes(tmp_path: Path) -> None:
    m = Model()
    grid = m.grid("x", 0.1, 5, "int8")
    m.constants |= {"pads": np.array([0, 0, 1, 0, 0, 0, 0, 2]), "to": np.array([2, -1])}
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("MaxPool", [], {"kernel_shape": [2, 2], "strides": [1, 1]}),
        ("Pad", ["pads"], {"mode": "constant"}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}),
        ("Reshape", ["to"], {}),
    ]
    q = "x"
    for op, more, attrs in steps:
        m.add("QuantizeLinear", [m.add(op, [m.real(q, grid), *more], op, **attrs), *grid], f"{op}_q")
        q = f"{op}_q"
    x = whole("int8", 2, 3, 4, 5)
    (got,), types = m.run(tmp_path, [q], {"x": x})
    pooled = np.lib.stride_tricks.sliding_window_view(x, (2, 2), (2, 3)).max((4, 5))
    padded = np.pad(pooled, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=5)
    np.testing.assert_array_equal(got, padded.transpose(0, 2, 3, 1).reshape(2, -1))
    assert not types & {"KiQuantize", "KiDequantize", "KiRequantize", *REALS}


@pytest.mark.parametrize("op", ["MaxPool", "Transpose", "Reshape", "Identity"])
@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_an_activation_behind_what_moves_elements(tmp_path: Path, op: str, activation: str) -> None:
    """The op that moves has no bounds of its own, so the activation must not be lost with it."""
    model = Model()
    model.constants |= {"shape": np.array([1, 32], np.int64), "low": np.float32(-0.4), "high": np.float32(0.4)}
    grid = model.grid("g", 0.1, 3, "int8")
    attributes: dict[str, Any] = {
        "MaxPool": {"kernel_shape": [2, 2], "strides": [1, 1]}, "Transpose": {"perm": [0, 2, 3, 1]}
    }.get(op, {})  # fmt: skip
    moved = model.add(op, [model.real("x", grid), *(["shape"] if op == "Reshape" else [])], "moved", **attributes)
    bounded = model.add(activation, [moved, *(["low", "high"] if activation == "Clip" else [])], "bounded")
    model.add("QuantizeLinear", [bounded, *grid], "y")
    model.real("y", grid)
    (found,), _ = model.run(tmp_path, ["y_real"], {"x": whole("int8", 1, 2, 4, 4)})
    low, high = (0.0, np.inf) if activation == "Relu" else (-0.4, 0.4)
    assert found.size
    assert found.min() >= low - 1e-6
    assert found.max() <= high + 1e-6


@pytest.mark.parametrize("counted", [0, 1])
def test_means(tmp_path: Path, counted: int) -> None:
    m = Model()
    x = m.real("x", m.grid("x", 0.1, 5, "uint8"))
    m.add("AveragePool", [x], "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=counted)
    m.add("QuantizeLinear", ["a", *m.grid("a", 0.07, 9, "uint8")], "a_y")
    m.add("QuantizeLinear", [m.add("GlobalAveragePool", [x], "g"), *m.grid("g", 0.05, 2, "uint8")], "g_y")
    given = whole("uint8", 2, 3, 5, 4)
    (mean, over_all), types = m.run(tmp_path, ["a_y", "g_y"], {"x": given})
    reals = given.astype(np.float64) - 5
    sums = convolved(reals, np.ones((3, 1, 3, 3)))
    cells = convolved(np.ones_like(reals), np.ones((3, 1, 3, 3)))
    near = sums / (9 if counted else cells) * 0.1 / 0.07 + 9
    assert (np.abs(mean - np.clip(near, 0, 255)) <= 0.5 + 1e-4).all()
    near = reals.mean((2, 3), keepdims=True) * 0.1 / 0.05 + 2
    assert (np.abs(over_all - np.clip(near, 0, 255)) <= 0.5 + 1e-4).all()
    assert not types & REALS


@pytest.mark.parametrize("why", ["another reader", "an output", "a bias of another scale", "a computed scale"])
def test_what_is_not_fused_stays_right(tmp_path: Path, why: str) -> None:
    m, (xs, ws, ys) = Model(), (F32(0.05), F32(0.02), F32(0.2))
    w, bias = whole("int8", 3, 2, 3, 3), np.array([100, -50, 7], np.int32)
    bs = F32(0.004) if why == "a bias of another scale" else xs * ws
    m.constants["b"] = bias
    inputs = [
        m.real("x", m.grid("x", xs, 3, "int8")),
        m.weights("w", w, ws),
        m.real("b", m.grid("b", bs, 0, "int32")),
    ]
    y = m.add("Conv", inputs, "c", pads=[1, 1, 1, 1])
    result = m.grid("y", ys, -1, "int8")
    if why == "a computed scale":
        m.constants["half"] = F32(0.5)
        result[0] = m.add("Mul", [m.add("Identity", ["given"], "s"), "half"], "s2")
    m.add("QuantizeLinear", [y, *result], "y")
    outputs = ["y", "c"] if why == "an output" else ["y"]
    if why == "another reader":
        outputs.append(m.add("Neg", ["c"], "minus"))
    x = whole("int8", 1, 2, 4, 4)
    feeds: dict[str, Array] = {"x": x, **({"given": np.array(2 * ys)} if why == "a computed scale" else {})}
    found, types = m.run(tmp_path, outputs, feeds)
    exact = (convolved(x.astype(np.float64) - 3, w.astype(np.float64)) * np.float64(xs) * np.float64(ws)) + (
        bias.reshape(-1, 1, 1) * np.float64(bs)
    )
    assert (np.abs(found[0] - np.clip(exact / ys - 1, -128, 127)) <= 0.5 + 1e-3).all()
    if len(found) > 1:
        np.testing.assert_allclose(found[1], -exact if why == "another reader" else exact, rtol=1e-4, atol=1e-4)
    assert "Conv2D" in types


def test_a_grid_to_another_and_an_activation_alone(tmp_path: Path) -> None:
    m = Model()
    x = m.real("x", m.grid("x", 0.1, 5, "int8"))
    m.add("QuantizeLinear", [x, *m.grid("y", 0.25, 100, "uint8")], "y")
    m.add("QuantizeLinear", [m.add("Relu", [x], "r"), *m.grid("z", 0.1, 5, "int8")], "z")
    given = np.arange(-128, 128).astype(np.int8)
    (y, z), types = m.run(tmp_path, ["y", "z"], {"x": given})
    steps = given.astype(np.int64) - 5
    np.testing.assert_array_equal(y, requantised(steps, F32(0.1) / F32(0.25), 100, "uint8"))
    np.testing.assert_array_equal(z, np.maximum(given, 5))
    assert not types & REALS


def test_sums_without_a_scale(tmp_path: Path) -> None:
    """ConvInteger and MatMulInteger give int32; QGemm without an output's scale gives reals."""
    m, scales = Model(), m_scales()
    m.constants |= {"w": whole("int8", 3, 2, 3, 3), "v": whole("int8", 4, 5), "zero": np.uint8(9)}
    m.add("ConvInteger", ["x", "w", "zero"], "c", pads=[1, 1, 1, 1])
    m.add("MatMulInteger", ["a", "v", "zero"], "p")
    given, weights = m.grid("a", scales[0], 9, "uint8"), m.grid("v", scales[1], 0, "int8")
    m.add("QGemm", ["a", *given, "v", *weights], "g", "com.microsoft")
    x, a = whole("uint8", 1, 2, 4, 4), whole("uint8", 3, 4)
    (c, p, g), types = m.run(tmp_path, ["c", "p", "g"], {"x": x, "a": a})
    np.testing.assert_array_equal(c, convolved(x.astype(np.int64) - 9, m.constants["w"].astype(np.int64)))
    product = (a.astype(np.int64) - 9) @ m.constants["v"].astype(np.int64)
    np.testing.assert_array_equal(p, product)
    np.testing.assert_array_equal(g, product.astype(F32) * (scales[0] * scales[1]))
    assert (c.dtype, p.dtype, g.dtype) == (np.int32, np.int32, F32)
    assert not types & REALS


def m_scales() -> tuple[np.float32, np.float32]:
    return F32(0.03), F32(0.007)


def test_every_backend_gives_the_integers_and_the_plan_names_its_kernels(tmp_path: Path) -> None:
    m = Model()
    weights = m.weights("w", whole("int8", 8, 4, 3, 3), 0.02)
    m.add("Conv", [m.real("x", m.grid("x", 0.05, 3, "uint8")), weights], "c", pads=[1, 1, 1, 1])
    m.add("QuantizeLinear", ["c", *m.grid("y", 0.4, 120, "uint8")], "y")
    x = whole("uint8", 2, 4, 6, 5)
    found = [
        m.run(tmp_path, ["y"], {"x": x}, backend=b)[0][0]
        for b in ("numpy", "cython", "numba")
        if b in available_backends()
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    graph = load(tmp_path / "m.onnx").graph
    assert graph is not None
    assert "quantized_conv2d" in ki.Session(graph, backend="cython").plan(["y"], {"x": x}).explain()


def test_inner_integers_can_be_fed(tmp_path: Path) -> None:
    """As in a float network: what is fed decides, though layouts between layers are taken out."""
    m, w = Model(), whole("int8", 3, 3, 3, 3)
    grid, x = m.grid("g", 0.05, 3, "uint8"), "x"
    for i in range(2):
        m.add("Conv", [m.real(x, grid), m.weights(f"w{i}", w, 0.02)], f"c{i}", pads=[1, 1, 1, 1])
        x = m.add("QuantizeLinear", [f"c{i}", *grid], f"y{i}")
    content = files.model(m.nodes, {"x": ("uint8", (1, 3, 4, 4))}, ["y1"], m.constants)
    given = whole("uint8", 1, 3, 4, 4)
    (got,) = files.run(tmp_path / "m.onnx", content, ["y1"], {"y0": given})
    total = convolved(given.astype(np.int64) - 3, w.astype(np.int64))
    np.testing.assert_array_equal(got, requantised(total, F32(0.02) * F32(0.05) / F32(0.05), 3, "uint8"))
