"""Inception v3 from a float image to probabilities, at batch 1 and 8, with seeded weights."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.models.inception_v3.build import build
from kigraph.graph.models.inception_v3.weights import seeded_weights
from kigraph.kernels.backends import get_backend
from kigraph.kernels.conformance import process_seed
from kigraph.kernels.inception_v3 import CONVOLUTIONS

from .peak import peak_gflops
from .support import time_run

NDArray = np.ndarray[Any, Any]


@functools.cache
def network() -> ki.Graph:
    return build(seeded_weights())


@functools.cache
def images(batch: int) -> NDArray:
    return np.random.default_rng(process_seed()).uniform(-1, 1, (batch, 299, 299, 3)).astype(np.float32)


@functools.cache
def reference_logits(batch: int) -> NDArray:
    """The numpy backend's results, which the others are checked against."""
    logits: NDArray = ki.Session(network(), backend="numpy").run("logits:0", {"input:0": images(batch)})
    return logits


@pytest.mark.parametrize("batch", [1, 8])
def test_inception_v3(benchmark: Any, batch: int, backend: str, threads: int) -> None:
    session = ki.Session(network(), backend=backend, threads=threads)
    feed = {"input:0": images(batch)}
    logits, probabilities = session.run(["logits:0", "predictions:0"], feed)
    want = reference_logits(batch)
    # Both sides round in float32 through 94 layers; the numpy backend itself is some 1e-6 from float64.
    assert np.linalg.norm(logits - want) <= 1e-5 * np.linalg.norm(want)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)

    benchmark.group = f"inception_v3[batch{batch}]"
    benchmark.extra_info.update(op="inception_v3", case=f"batch{batch}", backend=backend, threads=threads, batch=batch)
    least = time_run(benchmark, lambda: session.run("predictions:0", feed))
    if least is None:
        return
    gflops = 2 * batch * sum(layer.macs for layer in CONVOLUTIONS) / least / 1e9
    benchmark.extra_info.update(images_per_s=batch / least, ms_per_image=least * 1e3 / batch, gflops=gflops)
    peak = peak_gflops(threads) if get_backend(backend).device().name == "cpu" else None
    if peak is not None:
        benchmark.extra_info["share_of_peak"] = gflops / peak
