"""Quantised layers that are written as ONNX and read again give the same integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.builder import Graph
from kigraph.graph.loaders import load
from kigraph.graph.writers.onnx import save_onnx

RNG = np.random.default_rng(41)
U8 = np.dtype(np.uint8)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_layers_keep_their_integers(tmp_path: Path, padding: str) -> None:
    graph = Graph()
    with graph.as_default():
        x = graph.create_op("Placeholder", (), {"dtype": np.dtype(np.float32), "shape": (2, 7, 6, 3)}, "x").outputs[0]

        def const(value: object, dtype: str) -> ki.Tensor:
            return ki.constant(np.asarray(value, dtype))

        def add(op: str, *inputs: ki.Tensor, **attrs: object) -> ki.Tensor:
            return graph.create_op(op, list(inputs), attrs, op).outputs[0]

        result = {"y_zero": 7, "low": 0, "high": 200, "out_type": U8}
        q = add("KiQuantize", x, scale=0.04, zero=120, low=0, high=255, out_type=U8, divide=False)
        w = const(RNG.integers(-128, 128, (3, 3, 3, 5)), "int8")
        factors = RNG.uniform(0.001, 0.01, 5)
        window = {"strides": (1, 1, 1, 1), "padding": padding, "dilations": (1, 1, 1, 1)}
        bias = const(RNG.integers(-500, 500, 5), "int32")
        a = add("KiQuantizedConv2D", q, w, bias, const(factors, "float32"), x_zero=120, **result, **window)
        v = const(RNG.integers(-128, 128, (3, 3, 5, 1)), "int8")
        b = add(
            "KiQuantizedDepthwiseConv2D",
            a,
            v,
            bias,
            const(factors, "float32"),
            x_zero=7,
            **result,
            **{**window, "padding": "SAME"},
        )
        c = add("KiQuantizedAdd", a, b, a_zero=7, b_zero=7, a_multiplier=0.7, b_multiplier=-0.3, **result)
        d = add("KiQuantizedMul", c, a, a_zero=7, b_zero=7, multiplier=0.02, **result)
        e = add("KiRequantize", d, x_zero=7, multiplier=1.3, y_zero=9, low=9, high=255, out_type=U8)
        m = const(RNG.integers(-128, 128, (5, 4)), "int8")
        f = add(
            "KiQuantizedMatMul", e, m, const([1, 2, 3, 4], "int32"), const([0.01] * 4, "float32"), x_zero=9, **result
        )
        y = add("KiDequantize", f, scale=0.5, zero=7)
    image = RNG.standard_normal((2, 7, 6, 3)).astype(np.float32)
    wanted = ki.Session(graph, backend="numpy").run([f, y], {x: image})
    save_onnx(graph, tmp_path / "m.onnx", [f.name, y.name], [x.name])
    read = load(tmp_path / "m.onnx").graph
    assert read is not None
    inputs, outputs = read.signatures["serving_default"].inputs, read.signatures["serving_default"].outputs
    found = ki.Session(read, backend="numpy").run(list(outputs.values()), {next(iter(inputs.values())): image})
    assert len(np.unique(wanted[0])) > 20
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(got, want)
    assert {"KiQuantizedConv2D", "KiQuantizedDepthwiseConv2D"} <= {o.type for o in read.operations}
