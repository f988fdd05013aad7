"""The stored facts about TensorFlow's ops are those of the TensorFlow that is installed."""

from __future__ import annotations

import pytest

from kigraph.graph.opdefs import OPDEFS
from tests.interop.tensorflow_facts import facts, stored

pytest.importorskip("tensorflow")


def test_the_stored_facts_are_tensorflows() -> None:
    assert facts(op for op in OPDEFS if not op.startswith("Ki")) == stored()
