"""What changes during a run: photographs that go, a cache that takes nothing; and what is refused before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.errors import GraphError, KigraphError
from kigraph.kernels import cache_files
from kigraph.retraining import features, running
from kigraph.retraining.features import Inputs, Item, Store
from kigraph.retraining.photos import digest_of
from kigraph.retraining.trunk import find_trunk

Draw = Callable[..., Path]
TUNED: dict[str, Any] = {"fine_tune": 1, "epochs": 2, "learning_rate": 0.01, "testing": 0.2, "validation": 0.2}


def network() -> ki.Graph:
    """conv, an einsum that has no gradient, conv, mean, dense."""
    rng = np.random.default_rng(3)

    def weights(name: str, *shape: int) -> ki.Tensor:
        return ki.constant(rng.normal(0, 0.4, shape).astype(np.float32), name=name)

    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, 16, 16, 3], name="input")
        y = ki.relu(ki.conv2d(x, weights("w1", 3, 3, 3, 6), 2, "SAME"), name="stem")
        y = ki.einsum("...i,ij->...j", y, weights("mix", 6, 6), name="mixed")
        y = ki.relu(ki.conv2d(y, weights("w2", 3, 3, 6, 8), 2, "SAME"), name="last")
        y = ki.reduce_mean(y, [1, 2], name="pooled")
        ki.softmax(ki.matmul(y, weights("w3", 8, 4)), name="scores")
    return graph


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    ki.save_graph(network(), tmp_path / "net.pb")
    return tmp_path / "net.pb"


def removing(monkeypatch: pytest.MonkeyPatch, module: object, name: str, paths: list[Path]) -> None:
    """Files go just before a function is called for the first time."""
    real = getattr(module, name)

    def then(*args: object, **options: object) -> object:
        for path in paths:
            path.unlink(missing_ok=True)
        return real(*args, **options)

    monkeypatch.setattr(module, name, then)


def test_blocks_without_gradients_are_refused_before_photographs_are_read(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*args: object) -> None:
        raise AssertionError("photographs were read")

    monkeypatch.setattr(running, "collect", read)
    with pytest.raises(GraphError, match=r"--fine-tune: .*mixed.* has no gradient; train fewer blocks"):
        ki.retrain(draw(lemon=2, lime=2), weights=weights, output=tmp_path / "m.pb", fine_tune=2)
    with pytest.raises(GraphError, match="the trunk has 2 blocks"):
        ki.retrain(draw(lemon=2, lime=2), weights=weights, output=tmp_path / "m.pb", fine_tune=3)


def test_photographs_that_go_between_features_and_fine_tuning(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw(lemon=14, lime=14)
    ki.retrain(folder, weights=weights, output=tmp_path / "first.pb", **{**TUNED, "fine_tune": 0})  # features are kept
    gone = sorted((folder / "lime").iterdir())[:3]
    with monkeypatch.context() as patch:
        removing(patch, features.Inputs, "compute", gone)
        done = ki.retrain(folder, weights=weights, output=tmp_path / "m.pb", **TUNED)
    assert sorted(path for path, _ in done.unreadable) == [str(path) for path in gone]
    assert done.counts["all"] == [14, 11]
    again = ki.retrain(folder, weights=weights, output=tmp_path / "again.pb", **TUNED)
    assert again.unreadable == ()
    assert again.path.read_bytes() == done.path.read_bytes()


def test_a_run_that_lost_photographs_is_not_taken_for_a_whole_one(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw(lemon=8, lime=8)
    gone = sorted((folder / "lime").iterdir())[0]
    data = gone.read_bytes()
    with monkeypatch.context() as patch:
        removing(patch, running, "compute", [gone])
        assert ki.retrain(folder, weights=weights, output=tmp_path / "m.pb").counts["all"] == [8, 7]
    gone.write_bytes(data)
    with pytest.raises(KigraphError, match="made of other photographs"):
        ki.retrain(folder, weights=weights, output=tmp_path / "m.pb")
    assert ki.retrain(folder, weights=weights, output=tmp_path / "m.pb", force=True).counts["all"] == [8, 8]


def test_a_damaged_photograph_changes_nothing_of_that(draw: Draw, weights: Path, tmp_path: Path) -> None:
    folder = draw(lemon=8, lime=8)
    (folder / "lime" / "bad.jpg").write_bytes(b"this is no photograph at all")
    assert len(ki.retrain(folder, weights=weights, output=tmp_path / "m.pb").unreadable) == 1
    assert ki.retrain(folder, weights=weights, output=tmp_path / "m.pb").resumed


def test_photographs_that_go_while_the_last_layer_is_trained(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw(lemon=10, lime=10)
    paths = [path for path in folder.rglob("*.png") if path.name != "lime 0.9.png"]
    removing(monkeypatch, running, "train_head", paths)
    done = ki.retrain(folder, weights=weights, output=tmp_path / "m.pb")
    assert done.counts["all"] == [10, 10]
    assert done.classifier.classify(folder / "lime" / "lime 0.9.png")[0].label in ("lemon", "lime")


def test_nothing_is_left_to_check_the_new_network(
    draw: Draw, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = draw(lemon=5, lime=5)
    removing(monkeypatch, running, "train_head", list(folder.rglob("*.png")))
    with pytest.raises(KigraphError, match="no photograph can be read any more"):
        ki.retrain(folder, weights=weights, output=tmp_path / "m.pb")
    assert not list(tmp_path.glob("m*"))


def inputs_of(folder: Path, weights: Path) -> tuple[Inputs, list[Item], np.ndarray[Any, Any]]:
    """Inputs of the last block, items, and what NumPy makes of them."""
    trunk = find_trunk(ki.load(weights))
    items = [Item(str(path), digest_of(path.read_bytes())) for path in sorted(folder.rglob("*.png"))]
    start = trunk.graph.tensor("mixed")
    images = np.stack([trunk.prepared(trunk.pixels(Path(i.path).read_bytes(), i.path)) for i in items])
    return Inputs(trunk, start, Store.of("key", (8,))), items, trunk.session.run(start, {"images": images})


def test_inputs_are_read_from_the_cache_when_they_are_needed(draw: Draw, weights: Path) -> None:
    inputs, items, expected = inputs_of(draw(lemon=6, lime=5), weights)
    kept = inputs.compute(items).features
    assert len(kept) == 11
    assert not inputs._held
    assert np.array_equal(kept[3:7], expected[3:7])
    assert np.array_equal(kept[np.array([10, 0, 4])], expected[[10, 0, 4]])
    assert kept[np.array([], np.int64)].shape == (0, *expected.shape[1:])
    again = inputs.compute(items)
    assert again.kept == 11
    for path in Store.of("", ()).folder.rglob(items[2].digest):
        path.unlink()
    with pytest.raises(KigraphError, match="has gone, or was damaged, during the run"):
        kept[0:4]


def test_what_the_cache_does_not_take_is_held_if_it_fits(
    draw: Draw, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, items, expected = inputs_of(draw(lemon=6, lime=5), weights)
    real, left = cache_files.write_sealed, [4]

    def full(path: os.PathLike[str], data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(features, "write_sealed", full)
    asked: list[int] = []
    monkeypatch.setattr(features, "require", lambda nbytes, what, remedy: asked.append(nbytes))
    kept = inputs.compute(items).features
    assert asked == [7 * 4 * expected[0].size]
    assert len(inputs._held) == 7
    assert np.array_equal(kept[0:11], expected)
