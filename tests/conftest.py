"""Shared set-up: the seed of random inputs is printed, and can be given."""

from __future__ import annotations

import os

import pytest

from kigraph.kernels import settings
from kigraph.kernels.conformance import process_seed


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", help=f"seed of random inputs, as {settings.TEST_SEED.name}; default: a fresh one")


def pytest_configure(config: pytest.Config) -> None:
    # No test depends on what a developer's cache folder holds; tests of the caches choose for themselves.
    os.environ[settings.TUNE.name] = "off"
    os.environ[settings.PACKED_CACHE.name] = "off"
    if (seed := config.getoption("--seed")) is not None:
        os.environ[settings.TEST_SEED.name] = seed


def pytest_report_header(config: pytest.Config) -> str:
    return f"kigraph: {settings.TEST_SEED.name}={process_seed()}"


@pytest.fixture
def seed() -> int:
    """The seed of this run's random inputs."""
    return process_seed()
