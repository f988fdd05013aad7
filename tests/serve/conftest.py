"""A small model for the service, made on the spot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")
pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("httpx", reason="needs httpx (extra dev)")


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved network of two classes with random weights."""
    from kigraph.train import Model
    from kigraph.train.layers import Conv2D, Dense, GlobalAvgPool2D

    model = Model(
        [Conv2D(4, 3, activation="relu"), GlobalAvgPool2D(), Dense(2)],
        (16, 16, 3),
        classes=["cat", "dog"],
        backend="numpy",
    )
    return model.save(tmp_path_factory.mktemp("serve") / "model.pb")


@pytest.fixture(scope="session")
def image() -> Callable[..., bytes]:
    """Makes an encoded image."""
    from PIL import Image

    def make(kind: str = "JPEG", size: tuple[int, int] = (40, 30), seed: int = 0) -> bytes:
        pixels: Any = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        return file.getvalue()

    return make
