"""A trained integer network gives TensorFlow Lite's integers for photographs (all 120: python -m benchmarks.quantized_flowers)."""

from __future__ import annotations

import numpy as np
import pytest

quantized_flowers = pytest.importorskip(
    "benchmarks.quantized_flowers", reason="the benchmarks are in the checkout only"
)
compare, shared = quantized_flowers.compare, quantized_flowers.shared


@pytest.mark.skipif(
    not (shared() / "models" / "inception_v3_flowers_int8").is_dir(), reason="needs the shared models and photographs"
)
def test_photographs_get_the_runtimes_probabilities() -> None:
    found, wanted = compare(count=2)
    assert (found.argmax(1) == wanted.argmax(1)).all()
    assert (np.abs(found - wanted) <= 1).mean() >= 0.9  # one result of 10 may be at the edge of two steps
    assert np.abs(found - wanted).max() <= 2
