"""A small model in a file, and what the tests of packed weights do with it and with the cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.formats import digests
from kigraph.graph.ir import Literal
from kigraph.graph.packed import cache as packed_cache
from kigraph.graph.writers.graphdef import save_graphdef
from kigraph.opening import open_file

__all__ = ["X", "cache", "damage", "files", "model", "packs", "put", "run", "write_model"]

X = np.linspace(-1, 1, 2 * 9 * 9 * 8, dtype=np.float32).reshape(2, 9, 9, 8)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KIGRAPH_PACKED_CACHE", "on")
    monkeypatch.setattr(packed_cache, "_SAID", set())
    monkeypatch.setattr(digests, "_YOUNG_SECONDS", 0.0)
    return tmp_path / "cache" / "packed"


def write_model(path: Path, seed: int = 0) -> Path:
    """A convolution with a batch norm, and a matrix product."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> Any:
        return ki.constant(rng.standard_normal(shape).astype(np.float32))

    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, 9, 9, 8], name="x")
        y = ki.conv2d(x, numbers(3, 3, 8, 48), padding="SAME")
        ones = ki.constant(np.linspace(0.5, 1.5, 48, dtype=np.float32))
        y = ki.relu(ki.batch_normalization(y, numbers(48), ones, numbers(48), ones, 1e-3))
        y = ki.matmul(ki.reduce_mean(y, [1, 2]), numbers(48, 70))
        ki.identity(y, name="y")
    save_graphdef(graph, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.pb")


def run(model: Path, backend: str = "cython", **feeds: Any) -> np.ndarray[Any, Any]:
    """What a new process would do, but for the process."""
    with ki.Session(open_file(model, strict=True).graph, backend=backend) as session:
        result: np.ndarray[Any, Any] = session.run("y:0", feeds or {"x": X})
    return result


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layouts in which large constants were really packed."""
    made: list[str] = []
    original = packed_cache.PackedCache.get

    def get(self: Any, kernel: Any, layout: str, literal: Literal, pack: Callable[[Any], Any]) -> Any:
        return original(self, kernel, layout, literal, lambda w: (w.nbytes > 4096 and made.append(layout), pack(w))[1])

    monkeypatch.setattr(packed_cache.PackedCache, "get", get)
    return made


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.packed"))


def put(path: Path, data: bytes | bytearray) -> None:
    """Another file under that name: who has the old one mapped would die if it was cut short in place."""
    part = path.with_name("part")
    part.write_bytes(data)
    part.chmod(0o600)
    part.rename(path)


def damage(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    put(path, data)
