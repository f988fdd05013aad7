"""A small model for the service, made on the spot."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def service(model_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running service: its process and its address."""
    import httpx

    port = _free_port()
    command = [sys.executable, "-m", "kigraph", "serve", "--weights", str(model_path), "--backend", "numpy",
               "--port", str(port), "--queue", "8"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.1)
        yield process, url
    finally:
        process.kill()
        process.wait()
