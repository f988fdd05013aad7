"""Benchmarks: ``pytest benchmarks``. Every op at the shapes of Inception v3, then the whole network, on every backend.

--backends a,b   only these (default: all that this machine has); --threads N (default 1).
A table closes the run; ``python -m benchmarks.plot RESULT.json PICTURE.png`` draws what --benchmark-json wrote.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", help="comma-separated backends to time; default: all that can be used here")
    parser.addoption("--threads", type=int, default=1, help="threads of one run; default 1")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # The numpy backend's threads are its BLAS library's, which reads these when it is loaded.
    threads = str(config.getoption("--threads"))
    if "numpy" in sys.modules and os.environ.get("OPENBLAS_NUM_THREADS") != threads:
        config.issue_config_time_warning(
            pytest.PytestConfigWarning("NumPy was loaded before its threads could be set: its times may use more"), 2
        )
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = threads
    # pytest-benchmark prints a table per group, one for each shape; ours has a line for each shape.
    config.option.benchmark_quiet = True


def _backends(config: pytest.Config) -> list[str]:
    from kigraph.kernels.backends import available_backends, resolve_choice

    chosen = config.getoption("--backends")
    return list(available_backends() if chosen is None else resolve_choice(chosen).order)


# Last, so that the backends of one case follow each other and share its truth.
@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", _backends(metafunc.config))


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--threads"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    from .table import lines

    session = getattr(config, "_benchmarksession", None)
    done = [] if session is None else [b.as_dict(include_data=False) for b in session.benchmarks if b.stats.rounds]
    if done:
        terminalreporter.section("ms, GFLOP/s and share of peak")
        for line in lines(done):
            terminalreporter.write_line(line)
