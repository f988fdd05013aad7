"""Opening files never waits, whatever stands under the name."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import load, sniff
from kigraph.kernels.atomic_files import open_regular
from kigraph.train.checkpoint import load_checkpoint


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """A call that waits ends the test instead of the run."""

    def fail(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Everything that is not a regular file."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link to a pipe").symlink_to(tmp_path / "pipe")
    (tmp_path / "broken link").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # names of sockets are short
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        found = {p.name: p for p in tmp_path.iterdir()}
        yield found | {p: Path(p) for p in ("/dev/null", "/dev/zero", "/dev/tty", "/proc/self/mem", "a\0b")}


def test_nothing_but_regular_files_is_opened(odd: dict[str, Path]) -> None:
    for name, path in odd.items():
        if name == "/proc/self/mem":  # regular for the system
            continue
        with pytest.raises(OSError, match=r"regular file|not a name|No such|symbolic links"):
            open_regular(path)


@pytest.mark.parametrize("read", [load, sniff, load_checkpoint])
def test_the_loaders_refuse_them(odd: dict[str, Path], read: object) -> None:
    assert callable(read)
    for path in odd.values():
        with pytest.raises(LoadError):
            read(path)


def test_no_descriptor_is_left(odd: dict[str, Path]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in odd.values():
        with pytest.raises((OSError, LoadError)):
            open_regular(path).close() or load(path)
    assert len(os.listdir("/proc/self/fd")) == before
