"""One case at least of every contract, taken from its conformance cases: ``-k NAME`` finds it, ``--every-op`` runs all."""

from __future__ import annotations

from typing import Any

from kigraph.kernels.conformance import Case

from .support import time_case


def test_every_op(benchmark: Any, measured: Case, backend: str, threads: int) -> None:
    time_case(benchmark, measured, backend, threads)
