"""Files of packed weights that are damaged, foreign, or change while they are mapped: found, and made anew."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.graph.packed import cache as packed_cache
from kigraph.graph.packed.file import PackedFile
from kigraph.kernels.backends import get_backend
from kigraph.opening import open_file
from tests.graph.packed_models import X, damage, files, put, run

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("where", ["header", "table", "data", "short", "empty", "other isa", "other version", "text"])
def test_damaged_files_are_rebuilt(
    model: Path, cache: Path, packs: list[str], where: str, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    first = run(model)
    (path,) = files(cache)
    good = path.read_bytes()
    if where in ("header", "table", "data"):
        damage(path, {"header": 20, "table": 140, "data": len(good) - 9000}[where])
    elif where in ("short", "empty"):
        put(path, good[: len(good) // 2] if where == "short" else b"")
    elif where == "text":
        put(path, b"not packed weights at all\n" * 400)
    elif where == "other isa":
        monkeypatch.setattr(type(get_backend("cython")), "target", lambda self: "mmx")
        path.rename(path.with_name(path.name.replace(path.name.split("-")[1], "mmx")))
    else:
        monkeypatch.setattr(packed_cache, "code_stamp", lambda backend: "another version")
        path.rename(path.with_name(path.name.replace(path.stem.split("-")[-1], "another ")))
    packs.clear()
    with caplog.at_level(logging.INFO, "kigraph"):
        np.testing.assert_array_equal(run(model), first)
    assert len(packs) == (1 if where == "data" else 2)
    assert "anew" in caplog.text
    packs.clear()
    np.testing.assert_array_equal(run(model), first)
    assert packs == [], "it was rebuilt"


def test_every_session_hears_of_damage(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions of one graph take the same damaged array before either of them waits for the checks."""
    expected = run(model)
    (path,) = files(cache)
    belongs = json.loads(path.read_bytes()[128:].partition(b"\0")[0].partition(b',"entries"')[0] + b"}")
    for entry in PackedFile(path, belongs).entries.values():
        damage(path, entry.offset + 3)
    both, seen, original = threading.Barrier(2, timeout=60), threading.local(), packed_cache.PackedCache.confirm

    def confirm(self: packed_cache.PackedCache) -> Any:
        if not hasattr(seen, "waited"):
            seen.waited = True
            both.wait()
        return original(self)

    monkeypatch.setattr(packed_cache.PackedCache, "confirm", confirm)
    graph = open_file(model, strict=True).graph

    def start(_: int) -> Any:
        with ki.Session(graph, backend="cython") as session:
            return session.run("y:0", {"x": X})

    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(start, range(2)):
            np.testing.assert_array_equal(result, expected)


def test_what_killed_writers_left_goes(model: Path, cache: Path) -> None:
    run(model)
    (path,) = files(cache)
    for name in (path.name + "abc.part", "another.packedabc.part"):
        (cache / name).write_bytes(b"half")
    path.unlink()
    run(model)
    assert files(cache) == [path]
    assert [p.name for p in cache.glob("*.part")] == ["another.packedabc.part"], "its writer may be at work"


@pytest.mark.parametrize("how", ["in place before the check", "replaced after opening"])
def test_a_file_that_changes_while_it_is_mapped(
    model: Path, cache: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is computed comes from the file that was checked, or is packed anew."""
    expected = run(model)
    (path,) = files(cache)
    path.with_suffix(".checked").unlink(missing_ok=True)
    original = packed_cache.PackedCache.confirm
    changed: list[str] = []

    def confirm(self: packed_cache.PackedCache) -> Any:
        if not changed:
            changed.append(how)
            if how.startswith("in place"):
                with open(path, "r+b") as file:
                    for at in range(path.stat().st_size // 2, path.stat().st_size, 512):
                        file.seek(at)
                        file.write(b"\xff" * 64)
            else:
                put(path, bytes(path.stat().st_size))
        return original(self)

    monkeypatch.setattr(PackedFile, "_check", lambda self: None)  # the checker comes late: confirm does its work
    monkeypatch.setattr(packed_cache.PackedCache, "confirm", confirm)
    np.testing.assert_array_equal(run(model), expected)
    assert changed
    np.testing.assert_array_equal(run(model), expected)
