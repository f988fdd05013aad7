"""Every distinct convolution of Inception v3, with bias and ReLU."""

from __future__ import annotations

from typing import Any

import pytest

from kigraph.kernels.conformance.cases.conv2d import inception_case
from kigraph.kernels.conformance.cases.inception import ConvLayer, distinct_convolutions

from .support import time_case


@pytest.mark.parametrize(("layer", "count"), distinct_convolutions(), ids=lambda v: getattr(v, "name", f"x{v}"))
def test_conv2d(benchmark: Any, layer: ConvLayer, count: int, backend: str, threads: int) -> None:
    time_case(benchmark, inception_case(layer), backend, threads, weight=count)
