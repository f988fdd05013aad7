"""Features of many photographs are computed side by side: the same bits on any number of threads, in any order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import RunError
from kigraph.retraining.features import Inputs, Item, Store, compute
from kigraph.retraining.photos import collect
from kigraph.retraining.trunk import Trunk, find_trunk

Draw = Callable[..., Path]


@pytest.fixture
def items(draw: Draw) -> list[Item]:
    return [Item(p.path, p.digest) for p in collect(draw(lemon=13, plum=14, lime=10)).photos]


def _trunk(weights: Path, threads: int) -> Trunk:
    return find_trunk(ki.load(weights, threads=threads))


def test_the_bits_depend_neither_on_threads_nor_on_the_order(items: list[Item], weights: Path, tmp_path: Path) -> None:
    alone = _trunk(weights, 1)
    expected = {
        item: alone.features(alone.prepared(alone.pixels(Path(item.path).read_bytes(), item.path))[None])[0]
        for item in items
    }
    rng = np.random.default_rng()
    for threads in (1, 2, 3):
        trunk = _trunk(weights, threads)
        order = [items[at] for at in rng.permutation(len(items))]
        names: set[str] = set()
        counts: list[tuple[int, int]] = []

        def run(images: np.ndarray, trunk: Trunk = trunk, names: set[str] = names) -> np.ndarray:
            names.add(threading.current_thread().name)
            return trunk.with_threads(1).features(images)

        found = compute(trunk, order, Store(tmp_path / f"a{threads}", (12,)), run, lambda *c: counts.append(c))  # noqa: B023
        assert found.items == order
        assert all(np.array_equal(expected[i], row) for i, row in zip(found.items, found.features, strict=True))
        assert (counts[0], counts[-1]) == ((0, 37), (37, 37))
        assert counts == sorted(counts)
        assert 1 <= len(names) <= threads
        inputs = Inputs(trunk, trunk.graph.tensor("last"), Store(tmp_path / f"b{threads}", (12,)))
        rows = inputs.compute(order)
        assert rows.errors == []
        means = rows.features[:].mean((1, 2), dtype=np.float64)
        assert np.allclose(means, [expected[item] for item in order], rtol=1e-5, atol=1e-6)


def test_photographs_that_fail_are_named_in_their_order(items: list[Item], weights: Path, tmp_path: Path) -> None:
    bad = [items[at] for at in (0, 5, 6, 7, 8, 20, 36)]
    for item in bad:
        Path(item.path).unlink()
    found = compute(_trunk(weights, 2), items, store := Store(tmp_path / "c", (12,)))
    assert [item for item, _ in found.errors] == bad
    assert found.changed
    assert found.items == [item for item in items if item not in bad]
    again = compute(_trunk(weights, 2), items, store)
    assert again.kept == 30
    assert np.array_equal(found.features, again.features)


def test_all_photographs_may_fail(items: list[Item], weights: Path, tmp_path: Path) -> None:
    for item in items:
        Path(item.path).write_bytes(b"another")
    found = compute(_trunk(weights, 2), items, Store(tmp_path / "d", (12,)))
    assert (found.items, len(found.errors), found.features.shape) == ([], 37, (0, 12))


def test_a_run_that_fails_keeps_what_was_computed(items: list[Item], weights: Path, tmp_path: Path) -> None:
    trunk, store = _trunk(weights, 2), Store(tmp_path / "e", (12,))
    last = trunk.prepared(trunk.pixels(Path(items[20].path).read_bytes(), "x"))

    def run(images: np.ndarray) -> np.ndarray:
        if any(np.array_equal(image, last) for image in images):
            raise RunError("the device has gone")
        return trunk.features(images)

    with pytest.raises(RunError, match="has gone"):
        compute(trunk, items, store, run)
    assert not [t for t in threading.enumerate() if t.name.startswith("kigraph-decode")]
    assert compute(trunk, items, store).kept == 16, "two batches of eight came before it"
