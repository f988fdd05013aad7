"""Programs for TensorFlow 1: kigraph.compat.v1 next to TensorFlow itself, number by number."""

from __future__ import annotations

import os
from typing import Any

import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")

from tests.interop.tf1_programs import PROGRAMS
from tests.interop.tf1_results import difference, run


@pytest.fixture(scope="module")
def tensorflow() -> Any:
    """TensorFlow with graphs, reference variables and the dimensions of its first version, as long as this module's tests run."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    yield tf
    tf.enable_v2_behavior()


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_give_the_same(name: str, tensorflow: Any) -> None:
    import kigraph.compat.v1 as tf

    try:
        expected = run(tensorflow, name)
    except ImportError as error:
        pytest.skip(f"needs scikit-learn: {error}")
    found = run(tf, name)
    assert {*found} == {*expected}
    assert {p: why for p, fact in expected.items() if (why := difference(found[p], fact)) is not None} == {}
