"""Benchmarks: ``pytest benchmarks``. Convolutions and ops at the shapes of Inception v3, the whole network, every backend.

--backends a,b   only these (default: all that this machine has); --threads N (default 1).
--precisions a,b of fp32, tf32, bf16, int8 (default: the network in fp32, bf16 and int8, single ops in fp32).
-k NAME          also what test_every_op.py has under this name; --every-op: all of it, which takes some minutes.
A table closes the run; ``python -m benchmarks.plot RESULT.json PICTURE.png`` draws what --benchmark-json wrote.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import pytest

#: Left out of a run that does not ask for it.
EVERY_OP = "test_every_op.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", help="comma-separated backends to time; default: all that can be used here")
    parser.addoption("--threads", type=int, default=1, help="threads of one run; default 1")
    parser.addoption(
        "--precisions", help="comma-separated precisions to time; default: the network in fp32, bf16, int8, ops in fp32"
    )
    parser.addoption("--every-op", action="store_true", help="time every contract, not only what Inception v3 needs")


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what test_every_op.py times if it was not asked for, and what another file times, too.

    A -k expression asks for it if it names something; one that only leaves out ("not conv2d") does not.
    """
    named = re.sub(r"\bnot\s+(\w+|\([^()]*\))|\b(and|or)\b|[()\s]", "", config.option.keyword or "") != ""
    asked = config.option.every_op or named or any(EVERY_OP in name for name in config.args)
    params = [getattr(item, "callspec", None) and item.callspec.params for item in items]  # type: ignore[attr-defined]
    timed = {
        (str(p["case"]), p["backend"]) for p in params if p and "case" in p and p.get("precision", "fp32") == "fp32"
    }
    kept, left = [], []
    for item, p in zip(items, params, strict=True):
        measured = (str(p["measured"]), p["backend"]) if p and "measured" in p else None
        (left if measured and (not asked or measured in timed) else kept).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=left)


def _backends(config: pytest.Config) -> list[str]:
    from kigraph.kernels.backends import available_backends, resolve_choice

    chosen = config.getoption("--backends")
    return list(available_backends() if chosen is None else resolve_choice(chosen).order)


def _precisions(metafunc: pytest.Metafunc) -> list[str]:
    """Those asked for; else the module's DEFAULT_PRECISIONS, or fp32."""
    from .precisions import PRECISIONS

    chosen = metafunc.config.getoption("--precisions")
    if chosen is None:
        return list(getattr(metafunc.module, "DEFAULT_PRECISIONS", ("fp32",)))
    unknown = [name for name in chosen.split(",") if name not in PRECISIONS]
    if unknown:
        raise pytest.UsageError(f"--precisions: unknown: {', '.join(unknown)}; known: {', '.join(PRECISIONS)}")
    return list(dict.fromkeys(chosen.split(",")))


# Last, so that the backends of one case follow each other and share its truth.
@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "measured" in metafunc.fixturenames:
        from .measured import measured_pairs

        pairs = measured_pairs(_backends(metafunc.config))
        metafunc.parametrize(("measured", "backend"), pairs, ids=[f"{case}-{name}" for case, name in pairs])
    elif "precision" in metafunc.fixturenames:
        pairs = [(b, p) for p in _precisions(metafunc) for b in _backends(metafunc.config)]
        # fp32 keeps the names that stored results have.
        ids = [backend if precision == "fp32" else f"{backend}-{precision}" for backend, precision in pairs]
        metafunc.parametrize(("backend", "precision"), pairs, ids=ids)
    elif "backend" in metafunc.fixturenames:
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
