"""A small model for the service, made on the spot."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import socket
import subprocess
import sys
import tempfile
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


def free_port() -> int:
    """A port of the loopback address that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def serving(model_path: Path, *flags: str, files: int | None = None, **env: str) -> Iterator[tuple[Any, str, Path]]:
    """A running service: its process, its address, and the file with its standard error.

    files: its limit on open files.
    """
    import httpx

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    port = free_port()
    command = [sys.executable, "-m", "kigraph", "serve", "--weights", str(model_path), "--backend", "numpy", *flags]
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "errors.txt"
        with open(errors, "w") as file:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=file, text=True, preexec_fn=limit if files else None,
                env=os.environ | {"KIGRAPH_SERVE_PORT": str(port)} | env,
            )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        try:
            for _ in range(300):
                try:
                    if httpx.get(f"{url}/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                assert process.poll() is None, errors.read_text()
                time.sleep(0.05)
            yield process, url, errors
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def service(model_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running service: its process and its address."""
    with serving(model_path, "--queue", "8") as (process, url, _):
        yield process, url
