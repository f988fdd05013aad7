"""Sessions on every CPU backend of this machine, or on the GPU if it is requested, and an empty default graph for every test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from kigraph.graph.builder import Graph
from kigraph.graph.session import Session
from kigraph.kernels import settings
from kigraph.kernels.backends import get_backend
from tests.graph.packed_models import cache, model, packs  # noqa: F401 - fixtures

CPU_BACKENDS = ("numpy", "cython", "numba")
#: KIGRAPH_BACKEND=cupy runs the sessions of these tests on the GPU.
CHOSEN = ("cupy",) if os.environ.get(settings.BACKEND.name) == "cupy" else CPU_BACKENDS

MakeSession = Callable[..., Session]


@pytest.fixture
def graph() -> Iterator[Graph]:
    """An empty graph, the default one during the test."""
    with Graph().as_default() as graph:
        yield graph


@pytest.fixture(params=CHOSEN)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    status = get_backend(name).status()
    if not status.available:
        pytest.skip(f"backend {name}: {status.detail}")
    return name


@pytest.fixture
def session(graph: Graph, backend: str) -> Iterator[MakeSession]:
    """Makes sessions of the test's graph (or of a given one) on the backend; they are closed at the end."""
    made: list[Session] = []

    def make(of: Graph | None = None, **options: Any) -> Session:
        made.append(Session(graph if of is None else of, options.pop("backend", backend), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
