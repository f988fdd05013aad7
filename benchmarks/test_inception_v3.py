"""Inception v3 from a float image to probabilities, at batch 1 and 8, with seeded weights; in int8 a quantised file."""

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
from .precisions import int8_network, require, suffix
from .support import time_run

NDArray = np.ndarray[Any, Any]

DEFAULT_PRECISIONS = ("fp32", "bf16", "int8")
#: Relative L2 distance of the logits. fp32: both sides round through 94 layers, the numpy backend is some 1e-6 from float64;
#: bf16: other runtimes are 1.5e-2 from float64; int8: what a file leaves in float32 moves some values by a step, 1.3e-2 measured.
BOUNDS = {"fp32": 1e-5, "tf32": 2e-2, "bf16": 6e-2, "int8": 5e-2}


@functools.cache
def network() -> ki.Graph:
    return build(seeded_weights())


@functools.cache
def images(batch: int) -> NDArray:
    return np.random.default_rng(process_seed()).uniform(-1, 1, (batch, 299, 299, 3)).astype(np.float32)


def chosen(precision: str) -> tuple[ki.Graph, str, str, str]:
    """Graph, input, logits, probabilities."""
    return int8_network() if precision == "int8" else (network(), "input:0", "logits:0", "predictions:0")


@functools.cache
def reference_logits(batch: int, quantised: bool) -> NDArray:
    """The numpy backend's results, which the others are checked against."""
    graph, input_, logits, _ = chosen("int8" if quantised else "fp32")
    found: NDArray = ki.Session(graph, backend="numpy").run(logits, {input_: images(batch)})
    return found


@pytest.mark.parametrize("batch", [1, 8])
def test_inception_v3(benchmark: Any, batch: int, backend: str, precision: str, threads: int) -> None:
    require(backend, precision)
    graph, input_, logits_of, probabilities_of = chosen(precision)
    own = {} if precision in ("fp32", "int8") else {"precision": precision}
    session = ki.Session(graph, backend=backend, threads=threads, **own)
    feed = {input_: images(batch)}
    logits, probabilities = session.run([logits_of, probabilities_of], feed)
    # In int8 one image: the reference takes seconds for each.
    want = reference_logits(1 if precision == "int8" else batch, precision == "int8")
    assert np.linalg.norm(logits[: len(want)] - want) <= BOUNDS[precision] * np.linalg.norm(want)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5 if precision == "fp32" else 0.05)

    benchmark.group = f"inception_v3[batch{batch}]{suffix(precision)}"
    benchmark.extra_info.update(
        op="inception_v3", case=f"batch{batch}", backend=backend, precision=precision, threads=threads, batch=batch
    )
    least = time_run(benchmark, lambda: session.run(probabilities_of, feed))
    if least is None:
        return
    gflops = 2 * batch * sum(layer.macs for layer in CONVOLUTIONS) / least / 1e9
    benchmark.extra_info.update(images_per_s=batch / least, ms_per_image=least * 1e3 / batch, gflops=gflops)
    cpu = get_backend(backend).device().name == "cpu" and precision == "fp32"
    peak = peak_gflops(threads) if cpu else None
    if peak is not None:
        benchmark.extra_info["share_of_peak"] = gflops / peak
