"""Fixtures of the application tests: encoded pictures, a clean environment, the shared real models."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's weights, cache or backend choice, and none reaches the network through a proxy."""
    for name in ("KIGRAPH_WEIGHTS", "KIGRAPH_BACKEND", "KIGRAPH_NUM_THREADS", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def photo() -> np.ndarray[Any, Any]:
    """A smooth picture without symmetry, 60 high and 80 wide: survives JPEG, and every turn of it differs."""
    y, x = np.mgrid[0:60, 0:80]
    return np.stack([x * 3, y * 4, (x + 2 * y) % 256], axis=2).astype(np.uint8)


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """encode(pixels, "PNG", **options) -> the bytes of an image file."""
    from PIL import Image

    def encode_(pixels: np.ndarray[Any, Any], format_: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
        image = Image.fromarray(pixels)
        if mode is not None:
            image = image.convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, format_, **options)
        return buffer.getvalue()

    return encode_


@pytest.fixture
def shared() -> Path:
    """The folder of real models beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the folder ../shared with real models is not here")
    return SHARED


#: The tiny classifiers below know three colours; their scores are 20 x the mean of each channel.
COLOURS = ("red", "green", "blue")


def _colour_graph(kind: str, classes: int) -> Any:
    """A classifier of colours with the node names of a family: "2015", "retrained" or "slim"."""
    import kigraph as ki

    graph = ki.Graph()
    with graph.as_default():
        if kind == "slim":
            x = ki.placeholder(ki.float32, [None, 16, 16, 3], name="input")
        else:
            contents = ki.constant(b"", name="DecodeJpeg/contents")
            pixels = ki.decode_jpeg(contents, channels=3, name="DecodeJpeg")
            x = ki.expand_dims(ki.cast(pixels, ki.float32), 0)
            x = ki.resize_bilinear(x, [16, 16], name="ResizeBilinear")
            x = ki.multiply(ki.subtract(x, 128.0, name="Sub"), 1 / 128, name="Mul")
        x = ki.reduce_mean(x, [1, 2], name="pool_3")
        weights = np.zeros((3, classes), np.float32)
        weights[range(3), range(3)] = 20
        scores = ki.softmax(ki.matmul(x, ki.constant(weights)), name="softmax" if kind == "2015" else "scores")
        if kind == "retrained":
            ki.identity(scores, name="final_result")
        elif kind == "slim":
            ki.reshape(scores, [-1, classes], name="MobilenetV1/Predictions/Reshape_1")
    return graph


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three small GraphDef files by family: '2015', 'retrained' (with labels.txt beside it) and 'slim'."""
    from kigraph.graph.writers.graphdef import save_graphdef

    paths = {}
    for kind, classes in (("2015", 1008), ("retrained", 3), ("slim", 1001)):
        folder = tmp_path_factory.mktemp(kind)
        paths[kind] = folder / "model.pb"
        save_graphdef(_colour_graph(kind, classes), paths[kind])
    (paths["retrained"].parent / "labels.txt").write_text("\n".join(COLOURS) + "\n")
    return paths


@pytest.fixture
def pictures(tmp_path: Path, encode: Callable[..., bytes]) -> dict[str, Path]:
    """red.jpg, green.png and blue.webp, 40 x 30 pixels, plus 'bad': a file that is no image."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    result = {"bad": folder / "bad.jpg"}
    result["bad"].write_bytes(b"this is no image")
    for channel, (name, format_) in enumerate((("red", "JPEG"), ("green", "PNG"), ("blue", "WEBP"))):
        pixels = np.full((30, 40, 3), 20, np.uint8)
        pixels[..., channel] = 230
        result[name] = folder / f"{name}.{format_.lower().replace('jpeg', 'jpg')}"
        result[name].write_bytes(encode(pixels, format_))
    return result
