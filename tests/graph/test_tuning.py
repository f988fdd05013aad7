"""Sessions and tuning: explain() says why, the argument wins, batches are computed alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
from kigraph.kernels.errors import SettingsError


@pytest.fixture
def first_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rng: np.random.Generator) -> Any:
    """A convolution that two kernels of the cython backend can run."""
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("KIGRAPH_TUNE", raising=False)
    graph = ki.Graph()
    with graph.as_default():
        x = ki.placeholder(ki.float32, [None, 21, 21, 3], name="x")
        weights = rng.standard_normal((3, 3, 3, 32)).astype(np.float32)
        ki.conv2d(x, ki.constant(weights), strides=[1, 2, 2, 1], padding="VALID", name="y")
    return graph


def explained(graph: Any, batch: int = 1, **options: Any) -> str:
    with ki.Session(graph, backend="cython", **options) as session:
        return str(session.plan("y:0", {"x": np.zeros((batch, 21, 21, 3), np.float32)}).explain(rejected=True))


def test_explain_says_why(first_layer: Any, tmp_path: Path) -> None:
    assert "chosen by" not in explained(first_layer)
    assert list(tmp_path.rglob("*.json")) == []
    assert "chosen by measuring: 0." in explained(first_layer, tune="full")
    assert "chosen by tuning: 0." in explained(first_layer, 3)
    assert "chosen by" not in explained(first_layer, tune="off")
    assert len(list(tmp_path.rglob("tuning/cython-*.json"))) == 1


def test_the_environment_and_its_errors(first_layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_TUNE", "full")
    assert "chosen by measuring" in explained(first_layer)
    monkeypatch.setenv("KIGRAPH_TUNE", "yes")
    with pytest.raises(SettingsError, match="Valid: off, cached, full"):
        ki.Session(first_layer)
    monkeypatch.delenv("KIGRAPH_TUNE")
    with pytest.raises(SettingsError, match="tune must be one of off, cached, full"):
        ki.Session(first_layer, tune="yes")


def test_images_do_not_depend_on_their_batch(first_layer: Any, rng: np.random.Generator) -> None:
    images = rng.standard_normal((5, 21, 21, 3)).astype(np.float32)
    with ki.Session(first_layer, backend="cython", tune="full") as session:
        whole = session.run("y:0", {"x": images})
        for i, image in enumerate(images):
            np.testing.assert_array_equal(session.run("y:0", {"x": image[None]})[0], whole[i])
