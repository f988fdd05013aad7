"""The engine on Ray: the rows of a local run, whatever dies meanwhile. Skips without the extra ray, which dev does not have."""

from __future__ import annotations

import io
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kigraph as ki
from kigraph.archive.rays import ray_engine
from kigraph.archive.results import open_results
from kigraph.archive.rows import setup_of
from kigraph.archive.run import classify_to, local_engine

ray = pytest.importorskip("ray", reason="the extra ray is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    generator = np.random.default_rng()
    found = []
    for number in range(300):
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (40, 40, 3), np.uint8)).save(buffer, "PNG")
        path = tmp_path / f"{number} \n.png"
        path.write_bytes(buffer.getvalue()[: 50 if number % 50 == 7 else None])
        found.append(str(path))
    return found


def _rows(path: Path, engine: Any, model: ki.Classifier, paths: list[str]) -> bytes:
    with open_results(path, setup_of(model, 2)) as results:
        summary = classify_to(results, paths, engine)
    assert (summary.rows, summary.failed) == (300, 6)
    return path.read_bytes()


def test_workers_killed_at_random(cluster: None, paths: list[str], tmp_path: Path) -> None:
    demo = ki.weights.resolve_weights("demo").path
    model = ki.load(demo)
    stop, killed = threading.Event(), []

    def kill() -> None:
        while not stop.is_set() and len(killed) < 2:
            time.sleep(random.random() / 4)
            found = [
                int(p.name)
                for p in Path("/proc").iterdir()
                if p.name.isdecimal() and _name(p).startswith(b"ray::_Worker") and _parent(p)
            ]
            if found:
                killed.append(random.choice(found))
                os.kill(killed[-1], signal.SIGKILL)
                time.sleep(0.5)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = _rows(tmp_path / "ray.csv", ray_engine(demo, actors=2, batch=1), model, paths)
    finally:
        stop.set()
        killer.join()
    assert killed
    assert found == _rows(tmp_path / "local.csv", local_engine(model), model, paths)


def _name(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _parent(process: Path) -> bool:
    """Whether it is of this test's Ray: its raylet is a child of this process."""
    try:
        raylet = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        return int(Path(f"/proc/{raylet}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
    except (OSError, ValueError, IndexError):
        return False


def test_more_than_ray_has_is_refused(cluster: None, paths: list[str]) -> None:
    with pytest.raises(ki.FeedError, match="3 actors of 1 CPUs need 3, and Ray has 2"):
        next(ray_engine(ki.weights.resolve_weights("demo").path, actors=3)(paths, 1))


def test_an_error_of_the_model_ends_the_run(cluster: None, paths: list[str], tmp_path: Path) -> None:
    (tmp_path / "no.pb").write_bytes(b"no model")
    with pytest.raises(ki.KigraphError, match=r"no\.pb"):
        next(ray_engine(tmp_path / "no.pb", actors=1)(paths, 1))
