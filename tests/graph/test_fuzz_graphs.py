"""Random graphs on every backend against the reference; ``python tests/graph/fuzz_graphs.py COUNT`` runs more of them."""

from __future__ import annotations

import warnings

import pytest

from kigraph.kernels.backends import get_backend
from tests.graph.fuzz_graphs import check, make

#: Graphs that went wrong once: empty tensors in the buffer of a concat.
KNOWN = (2562, 2720)


def backends() -> list[str]:
    return [name for name in ("cython", "numba") if get_backend(name).status().available]


def test_random_graphs_agree_with_the_reference(seed: int) -> None:
    first = seed % (1 << 40)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(first, first + 150):
            try:
                check(number, backends())
            except Exception as error:
                raise AssertionError(f"{make(number)}") from error


@pytest.mark.parametrize("number", KNOWN)
def test_graphs_that_went_wrong_once(number: int) -> None:
    check(number, backends())
