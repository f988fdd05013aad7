"""Optimizers, clipping and schedules compute what Keras and PyTorch compute (oracle_facts.json)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from .oracles import FACTS, GRADIENTS, KERAS, START, TORCH, by_kigraph

_FACTS = json.loads(FACTS.read_text())
_CASES = [("keras", n) for n in KERAS] + [("torch", n) for n in TORCH]


def test_there_are_facts_of_every_case() -> None:
    assert {(library, n) for library, of in _FACTS.items() for n in of} == set(_CASES)


@pytest.mark.parametrize(("library", "name"), _CASES, ids="-".join)
@pytest.mark.parametrize("backend", ["numpy", "cython"])
def test_six_steps_are_those_of_the_library(library: str, name: str, backend: str) -> None:
    case = (KERAS if library == "keras" else TORCH)[name]
    wanted = _FACTS[library][name]
    for value, want, start in zip(by_kigraph(case.ours(), START, GRADIENTS, backend), wanted, START, strict=True):
        # torch adds 1e-6 to the norm that it clips by.
        np.testing.assert_allclose(value.ravel(), want, rtol=2e-6, atol=2e-6)
        assert np.abs(value - start).max() > 1e-3
