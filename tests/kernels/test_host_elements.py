"""Shifts, truncated division, products that are 0 at 0 and soft suppression of the host next to Python's own arithmetic."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import kigraph as ki
from kigraph.kernels.conformance import process_seed
from kigraph.kernels.contracts import elementwise as ops
from kigraph.kernels.host import elementwise
from kigraph.kernels.kernel import Kernel, Query
from kigraph.kernels.tensor import Params, TensorType


def _run(contract: object, inputs: list[np.ndarray], *, inplace: bool = False) -> np.ndarray:
    kernel: Kernel = next(k for k in elementwise.KERNELS if k.contract is contract)
    types = tuple(TensorType(x.dtype, x.shape) for x in inputs)
    (out,) = kernel.contract.check(types, Params())
    given = [np.array(x) for x in inputs]
    y = given[0] if inplace else np.full(out.dims, 77, out.dtype)
    assert kernel.prepare is not None
    kernel.prepare(Query(kernel.contract, types, (out,), Params()), None).bind(given, [y], None)()
    return y


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("odd", [False, True])
def test_shifts_stop_at_all_bits_but_one(kind: str, odd: bool) -> None:
    rng = np.random.default_rng(process_seed())
    info, size = np.iinfo(kind), 8 * np.dtype(kind).itemsize
    x = rng.integers(info.min, info.max, (3, 50), kind, endpoint=True)
    bits = rng.integers(0, size, (3, 50)).astype(kind)
    if odd:
        bits[0, :3] = [size, info.max, -5 if kind[0] == "i" else size + 1]
    effective = [min(max(int(b), 0), size - 1) for b in bits.flat]
    right = [int(a) >> b for a, b in zip(x.flat, effective, strict=True)]
    for inplace in (False, True):
        assert [int(v) for v in _run(ops.RIGHT_SHIFT, [x, bits], inplace=inplace).flat] == right
    mask = (1 << size) - 1
    left = [(int(a) << b) & mask for a, b in zip(x.flat, effective, strict=True)]
    unsigned = _run(ops.LEFT_SHIFT, [x, bits]).view(f"u{size // 8}")
    assert [int(v) for v in unsigned.flat] == left
    assert _run(ops.LEFT_SHIFT, [x[:0], bits[:0]]).shape == (0, 50)


@pytest.mark.parametrize("kind", ["int16", "uint8", "int64"])
def test_truncated_division_of_every_sign(kind: str) -> None:
    rng = np.random.default_rng(process_seed())
    for low in (0, -100 if kind[0] == "i" else 0):
        x = rng.integers(low, 100, 300).astype(kind)
        d = rng.integers(low, 100, 300).astype(kind)
        d[d == 0] = 7
        want = [
            int(a) // int(b) if (a < 0) == (b < 0) else -(abs(int(a)) // abs(int(b))) for a, b in zip(x, d, strict=True)
        ]
        np.testing.assert_array_equal(_run(ops.TRUNCDIV, [x, d]), np.array(want, kind))
        np.testing.assert_array_equal(_run(ops.TRUNCDIV, [x, d], inplace=True), np.array(want, kind))
    with pytest.raises(ki.KigraphError, match="division by zero"):
        _run(ops.TRUNCDIV, [x, d * 0])


@pytest.mark.parametrize("contract", [ops.XLOGY, ops.XLOG1PY, ops.XDIVY, ops.DIV_NO_NAN, ops.MUL_NO_NAN], ids=str)
@pytest.mark.parametrize("inplace", [False, True])
def test_zero_wins_over_everything(contract: object, inplace: bool) -> None:
    odd = np.array([0.0, -0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan], np.float32)
    a, b = (v.astype(np.float32) for v in np.array(list(itertools.product(odd, odd))).T)
    a, b = np.tile(a, 1100), np.tile(b, 1100)  # more than one block
    with np.errstate(all="ignore"):
        by = {ops.XLOGY: a * np.log(b), ops.XLOG1PY: a * np.log1p(b), ops.XDIVY: a / b, ops.DIV_NO_NAN: a / b}
        want = np.where(
            (b if contract in (ops.DIV_NO_NAN, ops.MUL_NO_NAN) else a) == 0, np.float32(0), by.get(contract, a * b)
        )
    np.testing.assert_array_equal(_run(contract, [a, b], inplace=inplace), want)


def _soft(
    boxes: np.ndarray, scores: np.ndarray, most: int, sigma: float, least: float
) -> tuple[list[int], list[float]]:
    """Bodla's soft suppression in float64: every chosen box lowers the scores of all others at once."""
    left, chosen, best = scores.astype(np.float64), list[int](), list[float]()
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    area = (high - low).prod(1)
    while len(chosen) < most and left.max(initial=-math.inf) > least:
        i = int(left.argmax())
        chosen.append(i)
        best.append(left[i])
        common = np.maximum(np.minimum(high[i], high) - np.maximum(low[i], low), 0).prod(1)
        share = common / (area[i] + area - common)
        left = left * np.exp(-0.5 / sigma * share * share)
        left[i] = -math.inf
        left[chosen] = -math.inf
    return chosen, best


def test_soft_suppression_is_that_of_the_paper() -> None:
    rng = np.random.default_rng(process_seed())
    for least in (-1.0, 0.3):
        corner, size = rng.uniform(0, 0.5, (60, 2)), rng.uniform(0.1, 0.5, (60, 2))
        boxes, scores = np.concatenate([corner, corner + size], 1), rng.uniform(0.05, 1, 60)
        graph = ki.Graph()
        with graph.as_default():
            numbers = [ki.constant(30), ki.constant(1.0), ki.constant(least), ki.constant(0.5)]
            given = [ki.constant(boxes.astype(np.float32)), ki.constant(scores.astype(np.float32)), *numbers]
            outputs = graph.create_op("NonMaxSuppressionV5", given, {}).outputs
        numbers_found, found, count = ki.Session(graph, backend="numpy").run(list(outputs))
        chosen, best = _soft(boxes, scores, 30, 0.5, least)
        assert count == len(chosen)
        assert numbers_found.tolist() == chosen
        np.testing.assert_allclose(found, best, rtol=1e-5)
