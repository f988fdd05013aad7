"""A small network with random weights, and folders of drawn pictures that it can tell apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kigraph as ki

#: Colours of the drawn classes.
COLOURS = {"lemon": (230, 220, 60), "lime": (70, 200, 60), "plum": (120, 40, 150)}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's weights or cache."""
    for name in ("KIGRAPH_WEIGHTS", "KIGRAPH_BACKEND", "KIGRAPH_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "cache"))


def network(batch: int | None = None, layout: str = "NHWC") -> ki.Graph:
    """conv, relu, pool, conv, relu, mean, dense, softmax over images of 24 x 24; seven classes that mean nothing."""
    rng = np.random.default_rng(5)
    graph = ki.Graph()
    shape = [batch, 24, 24, 3] if layout == "NHWC" else [batch, 3, 24, 24]
    with graph.as_default():
        x = ki.placeholder(ki.float32, shape, name="input")
        w1 = ki.constant(rng.normal(0, 0.3, (3, 3, 3, 8)).astype(np.float32), name="w1")
        w2 = ki.constant(rng.normal(0, 0.2, (3, 3, 8, 12)).astype(np.float32), name="w2")
        if layout == "NCHW":
            x = ki.transpose(x, [0, 2, 3, 1])
        y = ki.max_pool(ki.relu(ki.conv2d(x, w1, 1, "SAME")), 2, 2, "VALID")
        y = ki.relu(ki.conv2d(y, w2, 1, "SAME"), name="last")
        y = ki.reduce_mean(y, [1, 2], name="pooled")
        y = ki.reshape(y, [-1 if batch is None else batch, 12], name="flat")
        w3 = ki.constant(rng.normal(0, 1, (12, 7)).astype(np.float32), name="w3")
        ki.softmax(ki.matmul(y, w3, name="logits"), name="scores")
    return graph


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as a frozen graph."""
    path = tmp_path_factory.mktemp("network") / "net.pb"
    ki.save_graph(network(), path)
    return path


def drawn(colour: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A disc of a colour on noise, 40 x 36 pixels."""
    y, x = np.mgrid[0:40, 0:36]
    at, radius = rng.uniform(12, 24, 2), rng.uniform(8, 14)
    pixels = rng.integers(0, 120, (40, 36, 3))
    disc = (y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2
    pixels[disc] = np.clip(np.array(colour) + rng.integers(-25, 25, (int(disc.sum()), 3)), 0, 255)
    return pixels.astype(np.uint8)


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Path]:
    """draw(lemon=12, plum=9) -> a folder with so many pictures of each class; ``seed``, ``name``."""

    def draw_(seed: int = 0, name: str = "photos", **counts: int) -> Path:
        folder = tmp_path / name
        for label, count in counts.items():
            rng = np.random.default_rng([seed, len(label), *map(ord, label)])
            (folder / label).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                Image.fromarray(drawn(COLOURS[label], rng)).save(folder / label / f"{label} {seed}.{i}.png")
        return folder

    return draw_
