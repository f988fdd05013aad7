"""Fixtures: a small network with every kind of op that works with integers, and folders of photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kigraph as ki


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's weights, cache or backend choice."""
    for name in ("KIGRAPH_WEIGHTS", "KIGRAPH_BACKEND", "KIGRAPH_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "cache"))


def _weights(rng: np.random.Generator, *shape: int) -> Any:
    """Scaled so that values keep their size from layer to layer; channels differ by a factor of up to 8."""
    fan = int(np.prod(shape[:-1]))
    channels = 2.0 ** rng.uniform(-1.5, 1.5, shape[-1])
    return ki.constant((rng.standard_normal(shape) * channels * np.sqrt(2 / fan)).astype(np.float32))


def _pictures(rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
    small = rng.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    large = [Image.fromarray(p).resize((16, 16), Image.Resampling.BICUBIC) for p in small]
    return np.stack([np.asarray(p, np.float32) for p in large])


def network(path: Path, seed: int, outlier: float = 0.0) -> Path:
    """Convolutions with batch norm, bias, Relu and Relu6, depthwise, a sum, a concat, pools, a product, softmax.

    outlier: added to one pixel channel behind the first convolution, so that its range is mostly empty.
    """
    rng = np.random.default_rng(seed)
    with (graph := ki.Graph()).as_default():
        image = ki.placeholder(ki.float32, [None, 16, 16, 3], name="image")
        x = ki.subtract(ki.multiply(image, 1 / 127.5), 1.0)
        y = ki.conv2d(x, _weights(rng, 3, 3, 3, 8), 1, "SAME", name="stem")
        norm = [ki.constant(v.astype(np.float32)) for v in (rng.uniform(0.5, 2, 8), rng.normal(0, 0.3, 8), rng.normal(0, 0.3, 8), rng.uniform(0.5, 2, 8))]  # fmt: skip
        y = ki.fused_batch_norm(y, *norm)
        y = ki.relu(y)
        if outlier:
            y = ki.add(y, ki.constant(np.array([outlier] + [0.0] * 7, np.float32)))
        a = ki.relu6(ki.depthwise_conv2d(y, _weights(rng, 3, 3, 8, 1), [1, 1, 1, 1], "SAME", name="depthwise"))
        b = ki.bias_add(
            ki.conv2d(y, _weights(rng, 1, 1, 8, 8), 1, "VALID", name="pointwise"),
            ki.constant(rng.normal(0, 0.3, 8).astype(np.float32)),
        )
        c = ki.relu(ki.add(a, b, name="sum"))
        d = ki.relu(ki.conv2d(c, _weights(rng, 3, 1, 8, 4), 2, "SAME", name="strided"))
        e = ki.max_pool(c, 3, 2, "SAME")
        f = ki.concat([d, e], 3, name="joined")
        g = ki.avg_pool(f, 3, 1, "SAME")
        h = ki.relu(ki.conv2d(g, _weights(rng, 3, 3, 12, 16), 1, "VALID", name="last"))
        flat = ki.reduce_mean(h, [1, 2])
        raw = ki.matmul(flat, _weights(rng, 16, 5))
        # The bias is such that each class answers for some pictures.
        seen = ki.Session(graph, "cython", 1).run(raw, {image: _pictures(rng, 24)})
        logits = ki.bias_add(raw, ki.constant(-np.median(seen, axis=0)))
        ki.softmax(ki.multiply(logits, np.float32(4 / seen.std())), name="classes")
    return ki.save_graph(graph, path)


CARD = {"input": "image:0", "output": "classes:0", "mean": (0.0,) * 3, "std": (1.0,) * 3}


def loaded(path: Path, **options: Any) -> ki.Classifier:
    """The network with what its file does not say."""
    return ki.load(path, changes=CARD, labels=list("vwxyz"), backend="cython", threads=1, **options)


@pytest.fixture
def model(tmp_path: Path) -> ki.Classifier:
    return loaded(network(tmp_path / "net.pb", 5))


def photographs(folder: Path, count: int, seed: int = 1) -> Path:
    """Smooth coloured pictures of several sizes, in two folders."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        small = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        size = (16 + i % 5, 20)
        place = folder / ("a", "b")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(place / f"{i:03}.png")
    return folder


@dataclass(frozen=True)
class Whole:
    """A network, photographs, and what quantising it with all defaults gave."""

    model: ki.Classifier
    photos: Path
    found: ki.Quantized


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    model, photos = loaded(network(folder / "net.pb", 5)), photographs(folder / "photos", 16)
    return Whole(model, photos, ki.quantize(model, folder / "q.onnx", photos))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photographs(tmp_path / "photos", 16)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """made(name, seed, outlier): a network's file."""
    return lambda name, seed=5, outlier=0.0: network(tmp_path / name, seed, outlier)
