"""Decoding in threads: order, errors, the bound on what is held, and that no thread stays."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kigraph.errors import FeedError, ImageError
from kigraph.vision.decode import to_pixels
from kigraph.vision.pipeline import decoded, default_workers


def _threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("kigraph-decode")]


@pytest.mark.parametrize("workers", [None, 1, 2, 7])
def test_order_is_kept_whatever_takes_longer(workers: int | None) -> None:
    delays = [random.random() / 500 for _ in range(100)]

    def prepare(source: bytes) -> np.ndarray:
        number = int(source)
        time.sleep(delays[number])
        return np.array([number])

    found = list(decoded([str(n).encode() for n in range(100)], prepare, workers=workers))
    assert [int(item.source) for item in found] == list(range(100))
    assert [int(item.image[0]) for item in found] == list(range(100))
    assert all(item.error is None for item in found)
    assert not _threads()


def test_files_and_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        paths.append(str(tmp_path / f"{number} a\nb.png"))
        Image.new("RGB", (number + 1, 2), (number, 0, 0)).save(paths[-1])
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photograph")
    paths[3:3] = [str(tmp_path / "bad.jpg"), str(tmp_path / "away.jpg")]
    found = list(decoded(paths, to_pixels))
    assert [item.source for item in found] == paths
    assert [item.image is None for item in found] == [False] * 3 + [True] * 2 + [False] * 3
    assert isinstance(found[3].error, ImageError)
    assert "bad.jpg" in str(found[3].error)
    assert "away.jpg" in str(found[4].error)
    for item in found[:3] + found[5:]:
        np.testing.assert_array_equal(item.image, to_pixels(item.source))


def test_another_exception_ends_the_run_in_its_place() -> None:
    def prepare(source: str) -> np.ndarray:
        if source == "3":
            raise ZeroDivisionError("a fault of the program")
        return np.zeros(1)

    stream = decoded("0123456789", prepare, workers=2)
    assert [next(stream).source for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(ZeroDivisionError, match="a fault"):
        next(stream)
    assert not _threads()


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 1), (2, 4), (4, 3), (3, 32)])
def test_no_more_images_than_ahead(workers: int, ahead: int) -> None:
    alive, most, lock = 0, 0, threading.Lock()

    class Counted(np.ndarray):
        def __del__(self) -> None:
            nonlocal alive
            with lock:
                alive -= 1

    def prepare(source: int) -> np.ndarray:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return np.zeros(4).view(Counted)

    taken = 0
    for item in decoded(range(200), prepare, workers=workers, ahead=ahead):
        taken += 1
        del item
    assert taken == 200
    assert most <= ahead
    assert alive == 0


def test_sources_are_read_no_further_than_ahead() -> None:
    read = []

    def sources():
        for number in range(1000):
            read.append(number)
            yield number

    stream = decoded(sources(), lambda n: np.array([n]), ahead=5)
    assert not read
    assert next(stream).source == 0
    assert next(stream).source == 1
    assert len(read) <= 6
    stream.close()
    assert not _threads()


def test_an_error_of_the_sources_is_raised() -> None:
    def sources():
        yield "a"
        raise PermissionError("the folder went away")

    with pytest.raises(PermissionError):
        list(decoded(sources(), lambda s: np.zeros(1)))
    assert not _threads()


@pytest.mark.parametrize("collect", [False, True])
def test_no_thread_stays_when_it_is_closed_or_collected(collect: bool) -> None:
    started = []

    def prepare(source: int) -> np.ndarray:
        started.append(source)
        time.sleep(0.01)
        return np.zeros(1)

    stream = decoded(range(10_000), prepare, workers=2, ahead=16)
    next(stream)
    assert _threads()
    if collect:
        del stream
        gc.collect()
    else:
        stream.close()
    assert not _threads()
    assert len(started) <= 16


def test_nothing_to_do() -> None:
    assert list(decoded([], to_pixels)) == []
    decoded(["never asked for"], to_pixels)
    assert not _threads()


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"workers": True}, {"workers": 1.5}, {"ahead": 0}, {"ahead": -1}])
def test_wrong_numbers_are_refused_at_once(wrong: dict) -> None:
    with pytest.raises(FeedError, match="must be a whole number of at least 1"):
        decoded([], to_pixels, **wrong)


def test_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kigraph.vision.pipeline.available_cpus", lambda: 1)
    assert default_workers() == 1
    assert [int(d.image[0]) for d in decoded(range(50), lambda n: np.array([n]))] == list(range(50))
    monkeypatch.setattr("kigraph.vision.pipeline.available_cpus", lambda: 500)
    assert 1 < default_workers() < 500


def test_ctrl_c_ends_at_once() -> None:
    program = """if True:
        import time, sys, numpy as np
        from kigraph.vision.pipeline import decoded
        def prepare(n):
            time.sleep(0.05)
            return np.zeros(1)
        for item in decoded(range(100000), prepare, workers=2, ahead=64):
            print(item.source, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    ) as process:
        assert process.stdout.readline() == b"0\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in errors
