"""Shared set-up: the seed of random inputs is printed, and can be given; a stand-in for a GPU, if it is asked for.

KIGRAPH_TEST_STAND_IN=1: the tests that need a GPU run over the stand-in, to rehearse the tests themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kigraph.kernels import backends, settings
from kigraph.kernels.conformance import process_seed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", help=f"seed of random inputs, as {settings.TEST_SEED.name}; default: a fresh one")


def pytest_configure(config: pytest.Config) -> None:
    # No test depends on what a developer's cache folder holds; tests of the caches choose for themselves.
    os.environ[settings.TUNE.name] = "off"
    os.environ[settings.PACKED_CACHE.name] = "off"
    if os.environ.get("KIGRAPH_TEST_STAND_IN") == "1":
        _stand_in()
    if (seed := config.getoption("--seed")) is not None:
        os.environ[settings.TEST_SEED.name] = seed


def _stand_in() -> None:
    from kigraph.kernels.cupy.emulation.standin import StandIn

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
    from kigraph.kernels.cupy.emulation.standin import StandIn

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
