"""Archives that state huge extensions of headers, or nest them: one error of ours, little memory."""

from __future__ import annotations

import os
import tarfile
import time
import zlib
from pathlib import Path

import pytest

from kigraph.errors import WeightsError
from kigraph.weights.archive import extract_member


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def block(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


LAST = header(b"0", 3, "weights.bin") + block(b"abc") + bytes(1024)


@pytest.mark.parametrize(
    "tar",
    [
        header(b"x", 900 << 20) + bytes(1 << 20),
        header(b"L", 900 << 20) + bytes(1 << 20),
        header(b"g", 1 << 40) + bytes(1 << 20),
        (header(b"L", 10) + block(b"long name")) * 5000 + LAST,
        header(b"x", 30) + block(b"30 size=99999999999999999999\n") + LAST,
        header(b"x", 40) + block(b"999999999999999999999999999 path=x\n") + LAST,
        header(b"x", 11) + block(b"11 path=\xff\xff\n") + header(b"0", -1) + LAST,
    ],
    ids=["pax", "long name", "global", "nested", "size", "length", "negative"],
)
def test_headers_with_extensions(tar: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    archive.write_bytes(zlib.compress(tar, wbits=31))
    start = time.process_time()
    with pytest.raises(WeightsError, match=r"a\.tgz"):
        extract_member(archive, "weights.bin", tmp_path / "out")
    assert time.process_time() - start < 5


def test_an_archive_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "none.tgz"):
        with pytest.raises(WeightsError, match=path.name):
            extract_member(path, "weights.bin", tmp_path / "out")


def test_a_plain_one_is_read(tmp_path: Path) -> None:
    (tmp_path / "b.tgz").write_bytes(zlib.compress(LAST, wbits=31))
    assert extract_member(tmp_path / "b.tgz", "weights.bin", tmp_path / "out") == 3
    assert (tmp_path / "out").read_bytes() == b"abc"
