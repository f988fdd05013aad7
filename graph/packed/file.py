"""The file of packed weights: written once, mapped read-only, shared between processes through the page cache.

Layout, in the byte order of the machine that wrote it::

    header   128 bytes: magic, format, byte order mark, sizes, BLAKE2b of the header and the table
    table    JSON: what the file belongs to, and per entry key, element type, shape, offset, bytes, checksum
    data     entries, each aligned to 4 KiB

A file is never changed: it is written under another name, synced and renamed, so a crash or a full disk leaves nothing under
its name, and a process that has it mapped keeps the old one. Opening checks everything that decides what is read: magic, format,
byte order, owner, exact size, digest of header and table, and the bounds of every entry; native code therefore never gets
an address outside the map. The data of an entry is compared with its checksum by a thread that runs during the
compilation, and before anything is computed with it. All this finds accidents. It cannot find malice: whoever can write into
the user's cache folder can also write a checksum, so files that belong to other users, or that others may write, are not
used at all.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
import weakref
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.atomic_files import replacing
from ...kernels.cache_files import UnsafeFileError, check_private
from ...kernels.digest import blake2b
from ...kernels.records import dataclass

__all__ = ["Entry", "PackedFile", "PackedFileError", "checksum", "storable", "write_packed"]

_MAGIC = b"KIPACK\r\n"
_FORMAT = 1
_ORDER = 0x01020304
#: magic, format, byte order mark, file size, table bytes
_HEADER = struct.Struct("=8sIIQQ")
_DIGEST_AT, _DIGEST_BYTES, _TABLE_AT = 64, 32, 128
_MOST_TABLE = 16 << 20
#: Entries begin at multiples of this, and the bytes up to the next one are zero.
PAGE = 4096
#: Seconds that the checker sleeps between batches, because a thread gets the GIL back after up to 5 ms only; number of
#: sleeps without an entry after which it ends.
_GATHER_SECONDS, _PATIENCE = 0.003, 300

NDArray = np.ndarray[Any, Any]


class PackedFileError(Exception):
    """A file that is damaged, or belongs to something else; the text says what."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One array of a file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    nbytes: int
    checksum: str


def checksum(array: NDArray) -> str:
    """Of a dense array: BLAKE2b over the sums of its pages of 4 KiB as 64-bit words, modulo 2**64.

    It finds every changed bit and every lost or misplaced page at the speed of memory: 95 MB take 7 ms, with BLAKE2b alone
    107. It does not find words that were swapped inside a page.
    """
    data = array.reshape(-1).view(np.uint8)
    whole = data.size // PAGE * PAGE
    rest = np.zeros(_padded(data.size - whole), np.uint8)
    rest[: data.size - whole] = data[whole:]
    return _digest_of(np.concatenate([_page_sums(data[:whole]), _page_sums(rest)]), data.size)


def _page_sums(data: NDArray) -> NDArray:
    words: NDArray = data.view(np.uint64).reshape(-1, PAGE // 8)
    return np.asarray(words.sum(axis=1, dtype=np.uint64))


def _digest_of(sums: NDArray, nbytes: int) -> str:
    return blake2b(sums.tobytes() + nbytes.to_bytes(8, "little"), digest_size=16).hexdigest()


class PackedFile:
    """A file that was opened and checked. ``entries`` by key; ``array`` gives a read-only view of the map.

    The data of ``array`` is checked by a thread of its own, which also brings its pages in: call ``damaged`` before the
    arrays are used. Entries that are not requested are not read and take no memory. What was found good is recorded in a
    file beside this one until this one is replaced or the machine is started anew, because reading all weights takes 20 to
    40 ms of a start. Raises OSError if it cannot be opened, PackedFileError if it must not be used.
    """

    def __init__(self, path: Path, belongs: Mapping[str, Any]) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            state = os.fstat(descriptor)
            size = _check_owner(state)
            table, table_bytes = _read_table(descriptor, size)
            found = {key: table.get(key) for key in belongs}
            if found != dict(belongs):
                raise PackedFileError(f"it belongs to {found}, not to {dict(belongs)}")
            self.entries = _entries(table.get("entries"), _TABLE_AT + table_bytes, size)
            self._map = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        with suppress(OSError, AttributeError):
            self._map.madvise(mmap.MADV_WILLNEED)
        self._bytes: NDArray = np.frombuffer(self._map, np.uint8)
        self._record = _Record(path.with_suffix(".checked"), state)
        self._good = self._record.read() & self.entries.keys()
        self._asked = set(self._good)
        self._verified = set(self._good)
        self._damaged: set[str] = set()
        self._renew()
        _OPEN.add(self)

    def _renew(self) -> None:
        """For a new process, too: its parent's checker is not there, and may have held the lock."""
        self._lock = threading.Lock()
        self._hurry = threading.Event()
        self._checker: threading.Thread | None = None
        self._pending: list[str] = []

    def array(self, key: str) -> NDArray:
        """The entry under a key, read-only. KeyError if there is none."""
        entry = self.entries[key]
        with self._lock:
            if key not in self._asked:
                self._asked.add(key)
                self._pending.append(key)
                if self._checker is None or not self._checker.is_alive():
                    self._checker = threading.Thread(target=self._check, name="kigraph-packed", daemon=True)
                    with suppress(RuntimeError):  # no more threads: ``damaged`` does the work
                        self._checker.start()
        return self._bytes[entry.offset : entry.offset + entry.nbytes].view(entry.dtype).reshape(entry.shape)

    def damaged(self) -> frozenset[str]:
        """Keys of the requested entries whose data is not what was written; waits for the checks."""
        self._hurry.set()
        with self._lock:
            checker = self._checker
        if checker is not None and checker.is_alive():
            checker.join()
        self._hurry.clear()
        with self._lock:
            left = self._asked - self._verified - self._damaged
        if left:  # the checker died, or is not in this process
            self._check_keys(left)
        with self._lock:
            verified, damaged = self._verified.copy(), frozenset(self._damaged)
        if verified != self._good:
            self._good = verified
            self._record.write(verified)
        return damaged

    def _check(self) -> None:
        idle = 0
        while True:
            self._hurry.wait(_GATHER_SECONDS)
            with self._lock:
                keys, self._pending = self._pending, []
                idle = 0 if keys else idle + 1
                if not keys and (self._hurry.is_set() or idle > _PATIENCE):
                    self._checker = None
                    return
            self._check_keys(keys)

    def _check_keys(self, keys: Collection[str]) -> None:
        """An entry that cannot be checked, for want of memory say, counts as damaged: it is then packed anew."""
        try:
            self._check_entries([(self.entries[key], key) for key in keys])
        except Exception:
            with self._lock:
                self._damaged.update(key for key in keys if key not in self._verified)

    def _check_entries(self, found: list[tuple[Entry, str]]) -> None:
        """Adjacent entries are checked in one call: they are stored in the order in which they were first requested."""
        found.sort(key=lambda item: item[0].offset)
        while found:
            first, last = found[0][0].offset, 0
            run: list[tuple[Entry, str]] = []
            while found and (not run or found[0][0].offset == last):
                entry, key = found.pop(0)
                run.append((entry, key))
                last = _padded(entry.offset + entry.nbytes)
            sums = _page_sums(self._bytes[first:last])
            for entry, key in run:
                pages = slice((entry.offset - first) // PAGE, (_padded(entry.offset + entry.nbytes) - first) // PAGE)
                good = _digest_of(sums[pages], entry.nbytes) == entry.checksum
                with self._lock:
                    (self._verified if good else self._damaged).add(key)


#: So that a forked process can renew what its parent's threads held.
_OPEN: weakref.WeakSet[PackedFile] = weakref.WeakSet()


def _renew_open() -> None:
    for file in list(_OPEN):
        file._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_open)


class _Record:
    """Which entries of a file were found good since the machine was started: its data is still in the page cache unless
    memory was short. A file that was written to or replaced has another inode, mtime or ctime, and no record."""

    def __init__(self, path: Path, state: os.stat_result) -> None:
        self._path = path
        self._identity = [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, _boot()]

    def read(self) -> set[str]:
        """Keys of entries; none if there is no record of this very file."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            with open(descriptor, "rb") as file:
                _check_owner(os.fstat(descriptor), least=0)
                document = json.loads(file.read(_MOST_TABLE))
        except (OSError, ValueError, RecursionError, PackedFileError):
            return set()
        known = isinstance(document, dict) and self._identity[-1] and document.get("file") == self._identity
        good = document.get("good") if known else None
        return {key for key in good if isinstance(key, str)} if isinstance(good, list) else set()

    def write(self, good: Iterable[str]) -> None:
        """Keeps the keys, if the folder can be written."""
        with suppress(OSError), replacing(self._path, "w", durable=False, encoding="utf-8") as file:
            json.dump({"file": self._identity, "good": sorted(good)}, file)


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""


def _check_owner(state: os.stat_result, least: int = _TABLE_AT) -> int:
    try:
        check_private(state)
    except UnsafeFileError as error:
        raise PackedFileError(str(error)) from None
    if state.st_size < least:
        raise PackedFileError(f"it has {state.st_size} bytes")
    return state.st_size


def _read_table(descriptor: int, size: int) -> tuple[dict[str, Any], int]:
    head = os.pread(descriptor, _TABLE_AT, 0)
    if len(head) != _TABLE_AT or head[:8] != _MAGIC:
        raise PackedFileError("it is no file of packed weights")
    _, version, order, stated, table_bytes = _HEADER.unpack(head[: _HEADER.size])
    if (version, order) != (_FORMAT, _ORDER):
        raise PackedFileError(f"it has format {version} and byte order mark {order:#x}, not {_FORMAT} and {_ORDER:#x}")
    if stated != size or size % PAGE or not 2 <= table_bytes <= min(_MOST_TABLE, size - _TABLE_AT):
        raise PackedFileError(f"it has {size} bytes, and states {stated} with {table_bytes} of table")
    raw = os.pread(descriptor, table_bytes, _TABLE_AT)
    if _digest(head, raw) != head[_DIGEST_AT : _DIGEST_AT + _DIGEST_BYTES]:
        raise PackedFileError("its header or table is damaged")
    try:
        table = json.loads(raw)
    except (ValueError, RecursionError):
        raise PackedFileError("its table is no JSON") from None
    if not isinstance(table, dict):
        raise PackedFileError("its table is no object")
    return table, table_bytes


def _digest(head: bytes, table: bytes) -> bytes:
    return blake2b(head[:_DIGEST_AT] + table, digest_size=_DIGEST_BYTES).digest()


def _entries(value: Any, start: int, size: int) -> dict[str, Entry]:
    """Checked so that no entry can be outside of [start, size)."""
    entries: dict[str, Entry] = {}
    if not isinstance(value, list):
        raise PackedFileError("its table has no entries")
    for row in value:
        if not isinstance(row, list) or len(row) != 6 or not isinstance(row[0], str) or row[0] in entries:
            raise PackedFileError("an entry of its table is malformed")
        key, name, shape, offset, nbytes, check = row
        numbers = [*shape, offset, nbytes] if isinstance(shape, list) else [None]
        if any(type(n) is not int or not 0 <= n <= size for n in numbers) or not isinstance(check, str):
            raise PackedFileError("an entry of its table is malformed")
        if not isinstance(name, str) or name not in _DTYPES:
            raise PackedFileError(f"an entry has element type {str(name)[:40]!r}")
        dtype = np.dtype(name)
        if offset % PAGE or offset < start or offset + nbytes > size or prod(shape) * dtype.itemsize != nbytes:
            raise PackedFileError("an entry is outside of its file")
        entries[key] = Entry(dtype, tuple(shape), offset, nbytes, check)
    return entries


_DTYPES = frozenset(
    np.dtype(n).str
    for n in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
)


def storable(array: object) -> bool:
    """Whether something can be an entry: a dense host array of plain numbers."""
    return isinstance(array, np.ndarray) and array.dtype.str in _DTYPES and array.flags.c_contiguous


def write_packed(
    path: Path, belongs: Mapping[str, Any], arrays: Mapping[str, NDArray], kept: PackedFile | None = None
) -> int:
    """Writes a file with these arrays, and with the entries of ``kept`` under other keys; returns its size.

    The checksums of kept entries are copied, not computed again: damage must not be made valid. Raises OSError.
    """
    old = {k: e for k, e in kept.entries.items() if k not in arrays} if kept is not None else {}
    rows: list[list[Any]] = []
    parts: list[tuple[int, Any]] = []
    # The table's size must be known before the offsets are: 20 digits each are enough.
    room = 256 + len(json.dumps(dict(belongs))) + sum(200 + 24 * a.ndim for a in arrays.values())
    at = _padded(_TABLE_AT + room + sum(200 + 24 * len(e.shape) for e in old.values()))
    for key, array in arrays.items():
        rows.append([key, array.dtype.str, list(array.shape), at, array.nbytes, checksum(array)])
        parts.append((at, array.reshape(-1).view(np.uint8)))
        at = _padded(at + array.nbytes)
    for key, entry in old.items():
        assert kept is not None
        rows.append([key, entry.dtype.str, list(entry.shape), at, entry.nbytes, entry.checksum])
        parts.append((at, kept._bytes[entry.offset : entry.offset + entry.nbytes]))
        at = _padded(at + entry.nbytes)
    table = json.dumps({**belongs, "entries": rows}, separators=(",", ":")).encode()
    head = _HEADER.pack(_MAGIC, _FORMAT, _ORDER, at, len(table)).ljust(_DIGEST_AT, b"\0")
    head = (head + _digest(head, table)).ljust(_TABLE_AT, b"\0")
    # Not forced to the disk, 0.07 s for Inception v3: after a crash of the machine the checksums find what is missing.
    with replacing(path, durable=False, buffering=0) as file:
        descriptor = file.fileno()
        os.ftruncate(descriptor, at)
        _write_at(descriptor, memoryview(head + table), 0)
        for offset, data in parts:
            _write_at(descriptor, data.data, offset)
    return at


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done : done + (1 << 30)], offset + done)


def _padded(nbytes: int) -> int:
    return -(-nbytes // PAGE) * PAGE
