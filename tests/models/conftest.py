"""The real models beside the project, where they are; tests that need them skip with a reason where they are not."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.kernels.backends import get_backend

SHARED = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real models, photographs and TensorFlow's outputs for them."""
    if not (SHARED / "models").is_dir():
        pytest.skip(f"no real models beside the project: {SHARED} is missing")
    return SHARED


@pytest.fixture(scope="session", params=["cython", "numba", "numpy", "cupy"])
def backend(request: pytest.FixtureRequest) -> str:
    """Every backend that this machine has."""
    name: str = request.param
    status = get_backend(name).status()
    if not status.available:
        pytest.skip(f"backend {name}: {status.detail}")
    return name


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is kept between runs, if pytest's cache is on."""
    kept = getattr(pytestconfig, "cache", None)
    return Path(kept.mkdir("kigraph-models")) if kept is not None else tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def flowers(shared: Path, cache: Path) -> Path:
    """The trained Inception v3 for five flowers, unpacked (87 MB)."""
    folder = shared / "models" / "inception_v3_flowers"
    wanted = json.loads((folder / "checksum.json").read_text())
    path = cache / "flowers.pb"
    if not path.exists() or path.stat().st_size != wanted["bytes"]:
        part = path.with_suffix(f".{os.getpid()}.part")
        with lzma.open(folder / "frozen.pb.xz") as packed, open(part, "wb") as file:
            while block := packed.read(1 << 22):
                file.write(block)
        assert _sha256(part) == wanted["sha256_of_frozen.pb"]
        os.replace(part, path)
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@pytest.fixture(scope="session")
def golden(shared: Path) -> Iterator[Any]:
    """TensorFlow's outputs for the flower photographs."""
    with np.load(shared / "models" / "inception_v3_flowers" / "golden_tensorflow.npz") as arrays:
        yield dict(arrays)
