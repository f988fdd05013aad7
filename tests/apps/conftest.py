"""Fixtures of the application tests: encoded pictures, a clean environment, the shared real models."""

from __future__ import annotations

import io
import os
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


#: Names that a file may have, as bytes: the last but one is no UTF-8.
ODD_NAMES = [
    b"plain.jpg", b"a b.jpg", b"new\nline.jpg", b"r\return.jpg", b'quo"te,comma.jpg', b"caf\xe9.jpg", b"\xf0\x9f\x8c\xb9.jpg",
]  # fmt: skip


@pytest.fixture
def odd_names() -> list[bytes]:
    """Names with spaces, line ends, quotes, and one that is no UTF-8."""
    return list(ODD_NAMES)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Sixty small photographs in nested folders, with six damaged ones and what must not be taken."""
    from PIL import Image

    top = tmp_path / "archive"
    generator = np.random.default_rng()
    names = [os.fsdecode(name) for name in ODD_NAMES] + [f"{n}.png" for n in range(53)]
    for number, name in enumerate(names):
        folder = top.joinpath(*"abcde"[: number % 5], *(["über"] * (number % 3 == 0)))
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(generator.integers(0, 256, (9, 12, 3), np.uint8))
        image.save(buffer := io.BytesIO(), "PNG")
        (folder / name).write_bytes(buffer.getvalue()[: 40 if number % 10 == 3 else None])
    for hidden in (".DS_Store", "._1.jpg", ".thumbnails/1.jpg", "__MACOSX/1.jpg", "a/@eaDir/1.jpg", "a/notes.txt"):
        (top / hidden).parent.mkdir(exist_ok=True)
        (top / hidden).write_bytes(b"x")
    (top / "a" / "loop").symlink_to(top)
    return top
