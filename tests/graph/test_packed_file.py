"""The file of packed weights: what goes in comes out, and every kind of damage is found before anything is used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.packed import file as packed_file
from kigraph.graph.packed.file import PackedFile, PackedFileError, checksum, write_packed

BELONGS = {"backend": "b", "target": "t", "code": "c", "files": ["f"]}
NDArray = np.ndarray[Any, Any]


def put(path: Path, data: bytes | bytearray) -> None:
    """Another file under that name: who has the old one mapped would die if it was cut short in place."""
    part = path.with_name("part")
    part.write_bytes(data)
    part.chmod(0o600)
    part.rename(path)


@pytest.fixture
def arrays(rng: np.random.Generator) -> dict[str, NDArray]:
    return {
        "bytes": rng.integers(0, 256, 10_001, np.uint8),
        "floats": rng.standard_normal((3, 5, 700)).astype(np.float32),
        "empty": np.zeros((0, 4), np.int64),
        "doubles": rng.standard_normal(4096),
    }


@pytest.fixture
def path(tmp_path: Path, arrays: dict[str, NDArray]) -> Path:
    path = tmp_path / "a.packed"
    assert write_packed(path, BELONGS, arrays) == path.stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["a.packed"]
    return path


def test_round_trip(path: Path, arrays: dict[str, NDArray]) -> None:
    file = PackedFile(path, BELONGS)
    assert set(file.entries) == set(arrays)
    for key, array in arrays.items():
        got = file.array(key)
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.tobytes() == array.tobytes()
        assert got.ctypes.data % 4096 == 0
        assert not got.flags.writeable
    assert file.damaged() == frozenset()
    with pytest.raises(KeyError):
        file.array("another")


def test_a_second_writing_keeps_the_first(path: Path, arrays: dict[str, NDArray]) -> None:
    old = PackedFile(path, BELONGS)
    mapped = old.array("floats")
    more = {"more": np.arange(5000), "floats": np.ones(3000, np.float32)}
    write_packed(path, BELONGS, more, old)
    new = PackedFile(path, BELONGS)
    for key, array in {**arrays, **more}.items():
        assert new.array(key).tobytes() == array.tobytes()
    assert mapped.tobytes() == arrays["floats"].tobytes(), "who has the old file mapped keeps it"


def test_every_flipped_bit_of_header_and_table_is_found(path: Path, rng: np.random.Generator) -> None:
    good = path.read_bytes()
    table = struct.unpack("=Q", good[24:32])[0]
    checked = [*range(64), *range(64, 96), *range(128, 128 + table)]
    for at in sorted({*checked[:96], *rng.choice(checked, 200)}):
        bad = bytearray(good)
        bad[at] ^= 1 << rng.integers(8)
        put(path, bad)
        if at >= 32 and at < 64:  # zeros after the fields, covered by the digest
            assert good[at] == 0
        with pytest.raises(PackedFileError):
            PackedFile(path, BELONGS)


def test_every_flipped_bit_of_the_data_is_found(
    path: Path, arrays: dict[str, NDArray], rng: np.random.Generator
) -> None:
    good = path.read_bytes()
    entries = PackedFile(path, BELONGS).entries
    for key in ("bytes", "floats", "doubles"):
        entry = entries[key]
        for at in (0, entry.nbytes - 1, *rng.integers(0, entry.nbytes, 20)):
            bad = bytearray(good)
            bad[entry.offset + int(at)] ^= 1 << rng.integers(8)
            put(path, bad)
            file = PackedFile(path, BELONGS)
            others = [k for k in arrays if k != key]
            assert all(file.array(k).tobytes() == arrays[k].tobytes() for k in others)
            assert file.damaged() == frozenset(), "an entry that is not requested is not read"
            file.array(key)
            assert file.damaged() == {key}


def test_damage_is_not_made_valid_by_copying(path: Path) -> None:
    at = PackedFile(path, BELONGS).entries["floats"].offset
    bad = bytearray(path.read_bytes())
    bad[at] ^= 1
    put(path, bad)
    write_packed(path, BELONGS, {"more": np.arange(100)}, PackedFile(path, BELONGS))
    file = PackedFile(path, BELONGS)
    for key in file.entries:
        file.array(key)
    assert file.damaged() == {"floats"}


def test_lost_and_misplaced_pages_are_found(rng: np.random.Generator) -> None:
    data = rng.integers(0, 256, 40_000, np.uint8)
    seen = {checksum(data)}
    for change in ("zero", "swap", "shift", "shorter", "longer"):
        other = data.copy()
        if change == "zero":
            other[8192:12288] = 0
        elif change == "swap":
            other[:4096], other[4096:8192] = data[4096:8192], data[:4096]
        elif change == "shift":
            other = np.roll(data, 4096)
        elif change == "shorter":
            other = data[:-1].copy()
        else:
            other = np.append(data, np.uint8(0))
        seen.add(checksum(other))
    assert len(seen) == 6


@pytest.mark.parametrize("keep", [0, 1, 63, 127, 128, 200, 5000, -1])
def test_truncated_files_are_found(path: Path, keep: int) -> None:
    put(path, path.read_bytes()[:keep])
    with pytest.raises(PackedFileError):
        PackedFile(path, BELONGS)


def test_longer_files_are_found(path: Path) -> None:
    put(path, path.read_bytes() + bytes(4096))
    with pytest.raises(PackedFileError, match="states"):
        PackedFile(path, BELONGS)


@pytest.mark.parametrize("key", ["backend", "target", "code", "files"])
def test_files_of_something_else_are_not_used(path: Path, key: str) -> None:
    with pytest.raises(PackedFileError, match="it belongs to"):
        PackedFile(path, {**BELONGS, key: "avx2"})


def forge(path: Path, table: Any, *, raw: bytes | None = None, order: int = 0x01020304, version: int = 1) -> None:
    """A file whose header and table are in order, whatever the table says."""
    text = json.dumps(table).encode() if raw is None else raw
    size = 8192
    head = struct.pack("=8sIIQQ", b"KIPACK\r\n", version, order, size, len(text)).ljust(64, b"\0")
    digest = hashlib.blake2b(head + text, digest_size=32).digest()
    put(path, (head + digest).ljust(128, b"\0") + text + bytes(max(0, size - 128 - len(text))))


ROW = ["k", "|u1", [64], 4096, 64, "00"]


@pytest.mark.parametrize(
    "row",
    [
        ["k", "|u1", [64], 1 << 40, 64, "00"],
        ["k", "|u1", [1 << 62, 4], 4096, 0, "00"],
        ["k", "|u1", [1 << 40], 4096, 1 << 40, "00"],
        ["k", "|u1", [64], -64, 64, "00"],
        ["k", "|u1", [-64], 4096, 64, "00"],
        ["k", "|u1", [64], 4160, 64, "00"],
        ["k", "|u1", [64], 0, 64, "00"],
        ["k", "|u1", [64], 64, 64, "00"],
        ["k", "<f4", [64], 4096, 64, "00"],
        ["k", "|O", [8], 4096, 64, "00"],
        ["k", "|V64", [1], 4096, 64, "00"],
        ["k", [], [64], 4096, 64, "00"],
        ["k", "|u1", [64.0], 4096, 64, "00"],
        ["k", "|u1", [True], 4096, 1, "00"],
        ["k", "|u1", 64, 4096, 64, "00"],
        ["k", "|u1", [64], 4096, 64, 0],
        ["k", "|u1", [64], 4096, 64],
        [1, "|u1", [64], 4096, 64, "00"],
        "row",
    ],
)
def test_no_entry_can_lie_outside(path: Path, row: Any) -> None:
    """Even where the digests are right: what native code reads is bounded by the file."""
    forge(path, {**BELONGS, "entries": [ROW]})
    assert set(PackedFile(path, BELONGS).entries) == {"k"}
    forge(path, {**BELONGS, "entries": [row]})
    with pytest.raises(PackedFileError):
        PackedFile(path, BELONGS)


def test_other_malformed_tables(path: Path) -> None:
    for table in ({**BELONGS}, {**BELONGS, "entries": {}}, {**BELONGS, "entries": [ROW, ROW]}, [], 3):
        forge(path, table)
        with pytest.raises(PackedFileError):
            PackedFile(path, BELONGS)
    for raw in (b"{", b"[" * 100_000, b"\xff\xfe"):
        forge(path, None, raw=raw)
        with pytest.raises(PackedFileError):
            PackedFile(path, BELONGS)
    good = {**BELONGS, "entries": [ROW]}
    for options in ({"version": 2}, {"order": 0x04030201}):
        forge(path, good, **options)
        with pytest.raises(PackedFileError, match="byte order mark"):
            PackedFile(path, BELONGS)


def test_files_that_others_may_write_are_not_used(path: Path) -> None:
    path.chmod(0o622)
    with pytest.raises(PackedFileError, match="another user"):
        PackedFile(path, BELONGS)
    path.chmod(0o644)
    assert PackedFile(path, BELONGS).entries


def test_links_folders_and_pipes_are_not_used(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        PackedFile(tmp_path / "link", BELONGS)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "."):
        with pytest.raises((OSError, PackedFileError)):
            PackedFile(tmp_path / name, BELONGS)


def test_a_full_disk_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        write_packed(path, BELONGS, {"x": np.arange(10)})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.packed"]


def test_a_record_that_cannot_be_kept_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    file = PackedFile(path, BELONGS)
    file.array("floats")
    assert file.damaged() == frozenset()
    assert [p.name for p in path.parent.iterdir()] == ["a.packed"]


def test_what_was_found_good_is_remembered_until_the_file_changes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def checked() -> int:
        """How many entries a new process would compare with their checksums."""
        seen: list[int] = []
        original = packed_file.PackedFile._check_entries

        def count(self: PackedFile, found: list[Any]) -> None:
            seen.append(len(found))
            original(self, found)

        with monkeypatch.context() as patch:
            patch.setattr(packed_file.PackedFile, "_check_entries", count)
            file = PackedFile(path, BELONGS)
            for key in file.entries:
                file.array(key)
            file.damaged()
        return sum(seen)

    everything = len(PackedFile(path, BELONGS).entries)
    assert checked() == everything
    assert checked() == 0
    with path.open("r+b") as file:  # one bit, in place, and the old time put back
        state = path.stat()
        file.seek(PackedFile(path, BELONGS).entries["floats"].offset)
        file.write(b"\xff\x01")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    damaged = PackedFile(path, BELONGS)
    damaged.array("floats")
    assert damaged.damaged() == {"floats"}
    assert checked() == everything
    record = path.with_suffix(".checked")
    for text in ("", "[]", "{", '{"file": 1, "good": 2}', json.dumps({"file": [1], "good": ["floats"]})):
        record.write_text(text)
        record.chmod(0o600)
        assert checked() == everything
    assert checked() == 1, "the damaged one"
    record.chmod(0o666)
    assert checked() == everything, "a record that others may write is no record"
    monkeypatch.setattr(packed_file, "_boot", lambda: "another start of the machine")
    assert checked() == everything


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [MemoryError, SystemExit])
def test_a_checker_that_dies_does_not_stop_the_world(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """What it left is checked by who asks; what cannot be checked at all is damaged, not good."""
    main, original = threading.current_thread(), PackedFile._check_entries

    def fail(self: PackedFile, found: list[Any]) -> None:
        if error is MemoryError or threading.current_thread() is not main:
            raise error
        original(self, found)

    monkeypatch.setattr(PackedFile, "_check_entries", fail)
    file = PackedFile(path, BELONGS)
    file.array("floats")
    assert _within(10, file.damaged) == ({"floats"} if error is MemoryError else frozenset())
    file.array("doubles")
    file.array("floats")
    assert _within(10, file.damaged) == ({"floats", "doubles"} if error is MemoryError else frozenset())


def _within(seconds: float, work: Callable[[], Any]) -> Any:
    """The result of something that might never end; KeyboardInterrupt would not get it out of a loop of joins."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("locked", [False, True])
def test_a_child_forked_beside_the_checker_checks_itself(path: Path, locked: bool) -> None:
    bad = bytearray(path.read_bytes())
    bad[PackedFile(path, BELONGS).entries["floats"].offset] ^= 1
    put(path, bad)
    file = PackedFile(path, BELONGS)
    file.array("floats")
    file.array("doubles")
    with file._lock if locked else contextlib.nullcontext():
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if file.damaged() == {"floats"} else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert file.damaged() == {"floats"}


def test_what_was_not_checked_is_not_recorded_as_good(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread requests an entry when the checks are done and the record is not yet made."""
    main, original = threading.current_thread(), PackedFile._check_entries
    checked: set[str] = set()

    def check(self: PackedFile, found: list[Any]) -> None:
        keys = {key for _, key in found}
        if "doubles" in keys and threading.current_thread() is not main:
            time.sleep(0.3)
        original(self, found)
        checked.update(keys)

    class Late(threading.Event):
        def clear(self) -> None:
            super().clear()
            file.array("doubles")

    def write(good: set[str]) -> None:
        assert set(good) <= checked
        written.append(set(good))

    written: list[set[str]] = []
    monkeypatch.setattr(PackedFile, "_check_entries", check)
    file = PackedFile(path, BELONGS)
    monkeypatch.setattr(file, "_hurry", Late())
    monkeypatch.setattr(file._record, "write", write)
    file.array("floats")
    file.damaged()
    file.damaged()
    assert written[-1] == {"floats", "doubles"}
