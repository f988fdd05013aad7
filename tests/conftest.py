"""Shared set-up: the seed of random inputs is printed, and can be given; a stand-in for a GPU, if it is requested.

KIGRAPH_TEST_STAND_IN=1: the tests that need a GPU run over the stand-in, to rehearse the tests themselves.
--quick (``make quick``): nothing that takes seconds by its nature, and of a test with many parameters a few, drawn by the
seed.
"""

from __future__ import annotations

import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kigraph.kernels import backends, settings
from kigraph.kernels.conformance import process_seed

#: Parameter sets of one test that --quick runs.
_QUICK_FORMS = 2
#: What --quick leaves out as a whole: whole networks, compilers, builds, rehearsals. Single tests are marked slow.
_NOT_QUICK = (
    "tests/examples",
    "tests/gpu",
    "tests/graph/test_fuzz_graphs.py",
    "tests/graph/test_hostile_ops.py",
    "tests/graph/test_large_graphs.py",
    "tests/models",
    "tests/kernels/test_cupy_compile.py",
    "tests/kernels/test_cupy_emulator.py",
    "tests/kernels/test_cython_isa.py",
    "tests/kernels/test_numba_cache.py",
    "tests/loaders/test_fuzz.py",
    "tests/serve/test_dockerfile.py",
    "tests/test_bench_peers.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", help=f"seed of random inputs, as {settings.TEST_SEED.name}; default: a fresh one")
    parser.addoption(
        "--quick", action="store_true", help="no slow tests; of each test a few parameters, drawn by the seed"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds; `make quick` leaves it out")
    # No test depends on what a developer's cache folder holds; tests of the caches choose for themselves.
    os.environ[settings.TUNE.name] = "off"
    os.environ[settings.PACKED_CACHE.name] = "off"
    if os.environ.get("KIGRAPH_TEST_STAND_IN") == "1":
        _stand_in()
    if (seed := config.getoption("--seed")) is not None:
        os.environ[settings.TEST_SEED.name] = seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--quick"):
        return
    forms: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not item.nodeid.startswith(_NOT_QUICK) and item.get_closest_marker("slow") is None:
            forms[item.nodeid.partition("[")[0]].append(item)
    draw = random.Random(process_seed())
    kept = {id(item) for group in forms.values() for item in draw.sample(group, min(len(group), _QUICK_FORMS))}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = [item for item in items if id(item) in kept]


def _stand_in() -> None:
    try:
        from kigraph.kernels.testing.standin import StandIn
    except ModuleNotFoundError:
        raise pytest.UsageError(
            "KIGRAPH_TEST_STAND_IN=1 needs kigraph.kernels.testing, which the wheel lacks"
        ) from None

    gpu = StandIn()
    gpu.install(setattr)
    sys.modules["cupy"] = gpu.cupy  # type: ignore[assignment]
    backends.Backend.installed = lambda self: True  # type: ignore[method-assign]


def pytest_report_header(config: pytest.Config) -> str:
    return f"kigraph: {settings.TEST_SEED.name}={process_seed()}"


@pytest.fixture
def seed() -> int:
    """The seed of this run's random inputs."""
    return process_seed()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Makes StandIn(...) and puts it in CuPy's place: a backend cupy that can be chosen, with fresh caches around it."""
    import kigraph.kernels.cupy as backend

    pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")
    from kigraph.kernels.testing.standin import StandIn

    launcher = backend._LAUNCHER
    before = dict(backends._STATUS)

    def make(**options: Any) -> StandIn:
        gpu = StandIn(**options)
        gpu.install(monkeypatch.setattr)
        installed = backends.Backend.installed
        monkeypatch.setattr(
            backends.Backend, "installed", lambda b: b.name == "cupy" or installed(b)
        )  # CuPy need not be
        monkeypatch.setattr(launcher, "_modules", {})
        monkeypatch.setattr(launcher, "_functions", {})
        launcher.__dict__.pop("_properties", None)
        backends._STATUS.pop("cupy", None)
        return gpu

    yield make
    launcher.__dict__.pop("_properties", None)
    backends._STATUS.clear()
    backends._STATUS.update(before)
