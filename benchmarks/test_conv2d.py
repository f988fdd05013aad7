"""Every distinct convolution of Inception v3, with bias and ReLU."""

from __future__ import annotations

from typing import Any

import pytest

from kigraph.kernels.conformance import Case
from kigraph.kernels.conformance.cases.conv2d import inception_case
from kigraph.kernels.inception_v3 import distinct_convolutions

from .support import time_case

_LAYERS = distinct_convolutions()


@pytest.mark.parametrize(
    ("case", "count"),
    [(inception_case(layer), count) for layer, count in _LAYERS],
    ids=[f"{layer.name}-x{count}" for layer, count in _LAYERS],
)
def test_conv2d(benchmark: Any, case: Case, count: int, backend: str, precision: str, threads: int) -> None:
    time_case(benchmark, case, backend, threads, weight=count, precision=precision)
