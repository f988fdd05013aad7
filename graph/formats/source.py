"""Source: a file on disk, opened once and read by position.

Files are never mapped. The structure of a file is read in blocks as far as it is parsed; its weights are read later, piece
by piece, with ``preadv`` into aligned arrays. Compared with a map, this leaves no file pages in the process's memory
(87 MB for Inception v3), and a file that is truncated meanwhile gives a LoadError instead of SIGBUS.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.atomic_files import regular_descriptor
from ...kernels.tensor import DType
from ..errors import LoadError
from ..ir import Content
from .digests import recall, remember
from .limits import load_error, size_text

__all__ = ["Source"]

_HASH_BLOCK = 1 << 20
#: preadv takes at most 2 GiB at a time on Linux.
_READ_BLOCK = 1 << 30


class Source(Content):
    """A regular file. Safe to read from several threads; closed when no longer used. A part of the keys of literals.

    Raises LoadError if the file cannot be opened, is not a regular file, or is empty, and later if it was
    changed on disk after it was opened.
    """

    in_file = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = str(self.path)
        try:
            self._fd = regular_descriptor(self.path)
        except OSError as e:
            raise LoadError(f"{self.name}: cannot be opened: {e.strerror or e}") from None
        weakref.finalize(self, os.close, self._fd)
        state = os.fstat(self._fd)
        self.size = state.st_size
        self._stamp = (state.st_size, state.st_mtime_ns)
        if self.size == 0:
            raise load_error(self.name, "byte 0", "an empty file", "a model or weights", "Fetch the file again.")

    def check_unchanged(self) -> None:
        """Raises LoadError if the file was written into since it was opened."""
        state = os.fstat(self._fd)
        if (state.st_size, state.st_mtime_ns) != self._stamp:
            raise LoadError(
                f"{self.name}: the file was changed on disk after it was opened; load it again "
                "(replace files by renaming a new one over them, not by writing into them)"
            )

    def is_same(self, state: os.stat_result) -> bool:
        """Whether it is the very file that ``state`` describes."""
        own = os.fstat(self._fd)
        return (own.st_dev, own.st_ino) == (state.st_dev, state.st_ino)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fills ``buffer`` (bytes, writable) from ``offset`` on."""
        self.check_unchanged()
        wanted = len(buffer)
        if offset < 0 or offset + wanted > self.size:
            raise load_error(
                self.name,
                f"byte {offset}",
                f"a file of {size_text(self.size)}",
                f"{wanted} bytes there",
                "The file is truncated or damaged: fetch it again.",
            )
        done = 0
        while done < wanted:
            got = os.preadv(self._fd, [buffer[done : done + _READ_BLOCK]], offset + done)
            if got == 0:
                raise load_error(self.name, f"byte {offset + done}", "the end of the file", f"{wanted - done} bytes")
            done += got

    def read(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset`` on."""
        if offset < 0 or count < 0 or offset + count > self.size:  # before allocating
            self.read_into(self.size, memoryview(b"?"))
        data = bytearray(count)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def array(self, offset: int, dtype: DType, shape: Sequence[int]) -> np.ndarray[Any, Any]:
        """A new aligned array with the elements stored at ``offset`` (little-endian as in every format here)."""
        stored = dtype.newbyteorder("<")
        if offset < 0 or offset + prod(shape) * stored.itemsize > self.size:
            self.read_into(self.size, memoryview(b"?"))
        result = np.empty(tuple(shape), stored)
        if result.size:
            self.read_into(offset, result.reshape(-1).view(np.uint8).data)
        return result.astype(dtype, copy=False)

    def space(self) -> tuple[memoryview, Callable[[int, int], None]]:
        """Memory of the file's size, empty at first, and what fills a range of it with the file's bytes, for parsing.

        A map of the file itself would be as cheap, but a file that is truncated meanwhile kills a process that reads
        its map (SIGBUS). What is not filled takes no memory. It is given back when nothing refers to it any more.
        """
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        try:
            view = memoryview(mmap.mmap(-1, self.size, flags=flags))
        except OSError as e:
            raise LoadError(f"{self.name}: no memory for a file of {size_text(self.size)}: {e.strerror}") from None
        return view, lambda start, stop: self.read_into(start, view[start:stop])

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content in hex; computed on first use."""
        import hashlib

        digest = hashlib.sha256()
        block = bytearray(min(_HASH_BLOCK, self.size))
        for offset in range(0, self.size, _HASH_BLOCK):
            part = memoryview(block)[: min(_HASH_BLOCK, self.size - offset)]
            self.read_into(offset, part)
            digest.update(part)
        return digest.hexdigest()

    @cached_property
    def remembered_sha256(self) -> str:
        """As ``sha256``, but taken from the cache folder if it was computed for this very file before; see digests.py."""
        state = os.fstat(self._fd)
        known = recall(state)
        if known is not None:
            return known
        digest = self.sha256
        if os.fstat(self._fd).st_ctime_ns == state.st_ctime_ns:
            remember(state, digest)
        return digest

    def content_digest(self) -> str | None:
        try:
            return self.remembered_sha256
        except LoadError:
            return None  # the next read of a weight reports it

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {size_text(self.size)})"
