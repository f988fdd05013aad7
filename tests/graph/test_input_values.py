"""Inputs whose values decide shapes (sizes, axes, multiples): any integers give results or a clear refusal."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.errors import RunError
from kigraph.graph.opdefs import OPDEFS

from .test_shapes import CASES, give

NDArray = np.ndarray[Any, Any]
TRIALS = 60
#: Ops with an input whose value lowering needs.
OPS = sorted(op for op in CASES if OPDEFS[op].values)


def test_there_are_ops_to_try() -> None:
    assert {
        "Reshape",
        "SplitV",
        "Slice",
        "StridedSlice",
        "Tile",
        "Pad",
        "Fill",
        "Range",
        "ConcatV2",
        "ResizeBilinear",
    } <= set(OPS)


def _hostile(value: NDArray, rng: np.random.Generator) -> NDArray:
    """Other integers, at times of another length or rank."""
    shape = list(value.shape)
    if shape and rng.random() < 0.2:
        shape[0] = int(rng.integers(0, 5))
    numbers = rng.integers(-4, 7, shape).astype(value.dtype)
    kept = rng.random(shape) < 0.5
    if list(value.shape) == shape:
        numbers = np.where(kept, value, numbers).astype(value.dtype)
    return numbers


@pytest.mark.parametrize("op", OPS)
def test_any_sizes_and_axes_give_results_or_are_refused(op: str, seed: int) -> None:
    rng = np.random.default_rng([seed, zlib.crc32(op.encode())])
    backends = [b for b in ("numpy", "cython", "numba") if b in ki.available_backends()]
    for _ in range(TRIALS):
        inputs, attrs = CASES[op](tuple(int(n) for n in rng.integers(1, 5, 4)), rng)
        for index in OPDEFS[op].values:
            inputs[index] = _hostile(np.asarray(inputs[index]), rng)
        found = []
        for backend in backends:
            feeds: dict[ki.Tensor, NDArray] = {}
            way = ("constant", "nothing")[int(rng.integers(2))], 0
            try:
                with ki.Graph().as_default() as graph:
                    tensors = [give(np.asarray(x), way, feeds) for x in inputs]
                    outputs = graph.create_op(op, tensors, attrs).outputs
                results: Any = ki.Session(graph, backend=backend).run(list(outputs), feeds)
            except RunError:
                raise
            except ki.KigraphError:
                results = None
            found.append(results)
        for results in found[1:]:
            assert (results is None) == (found[0] is None), (op, inputs)
            for a, b in zip(results or (), found[0] or (), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=str((op, inputs)))
