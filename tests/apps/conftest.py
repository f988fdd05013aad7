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
