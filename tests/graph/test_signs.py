"""Which zero an op gives: the same on every backend, as the contracts say."""

from __future__ import annotations

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.builder import Graph
from kigraph.graph.session import Session

#: Op -> whether the result for -0, and for -0 with +0, has the sign.
UNARY = {
    "relu": True, "relu6": True, "tanh": True, "sin": True, "erf": True, "log1p": True, "sqrt": True, "round": True,
    "floor": True, "ceil": True, "identity": True, "negative": False, "abs": False, "sign": False, "square": False,
}  # fmt: skip
BINARY = {"maximum": (False, True), "minimum": (False, True), "add": (False, False), "multiply": (True, True)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_signs_of_zeros(graph: Graph, backend: str, dtype: str) -> None:
    with graph.as_default():
        x, y = (ki.placeholder(dtype, [None], name=name) for name in "xy")
        fetches = {name: getattr(ki, name)(x) for name in UNARY}
        fetches |= {
            f"{name} {i}": getattr(ki, name)(*pair) for name in BINARY for i, pair in enumerate([(x, y), (y, x)])
        }
    wanted = UNARY | {f"{name} {i}": sign for name, signs in BINARY.items() for i, sign in enumerate(signs)}
    with Session(graph, backend=backend) as session:
        for length in (1, 7, 16, 37):
            zeros = np.zeros(length, dtype)
            for name, result in session.run(fetches, {x: -zeros, y: zeros}).items():
                assert not result.any(), name
                assert (np.signbit(result) == wanted[name]).all(), (name, length)
