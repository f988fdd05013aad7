"""Programs for TensorFlow 1 give what TensorFlow gives: its results are facts, made by tests/interop/tf1_results.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import kigraph.compat.v1 as tf
from tests.interop.tf1_results import EVERY, difference, run

FACTS = json.loads(Path(__file__).with_name("tf1_facts.json").read_text())


def test_every_program_has_facts() -> None:
    assert {*FACTS} == {*EVERY}
    assert sum(len(facts) for facts in FACTS.values()) > 200


@pytest.mark.parametrize("name", EVERY)
def test_as_tensorflow(name: str) -> None:
    try:
        found = run(tf, name)
    except ImportError as error:
        pytest.skip(f"needs scikit-learn: {error}")
    assert {*found} == {*FACTS[name]}
    wrong = {place: why for place, fact in FACTS[name].items() if (why := difference(found[place], fact)) is not None}
    assert wrong == {}


def test_a_difference_is_seen() -> None:
    assert difference(["float32", [2], [1.0, 2.0]], ["float32", [2], [1.0, 2.001]]) is not None
    assert difference(["float64", [], [1.0]], ["float32", [], [1.0]]) is not None
    assert difference(["int32", [1], [3]], ["int32", [1], [4]]) is not None
    assert difference("a:0", "a_1:0") is not None
