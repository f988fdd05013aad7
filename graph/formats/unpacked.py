"""Unpacked: a member of an archive that had to be inflated, in the place of a file."""

from __future__ import annotations

from pathlib import Path

from .limits import load_error, size_text
from .source import Source

__all__ = ["Unpacked"]


class Unpacked(Source):
    """Bytes in memory that are read as a file is. ``of``: the file that they were inflated from, for messages and digests."""

    def __init__(self, of: Source, name: str, data: bytes) -> None:
        self.path = Path(of.path)
        self.name = of.name
        self.size = len(data)
        self._of, self._member, self._data = of, name, data

    def check_unchanged(self) -> None:
        """What is in memory does not change."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fills ``buffer`` from ``offset`` on."""
        end = offset + len(buffer)
        if offset < 0 or end > self.size:
            place = f"member '{self._member}', byte {offset}"
            raise load_error(self.name, place, f"{size_text(self.size)}", f"{len(buffer)} bytes there")
        buffer[:] = self._data[offset:end]

    def content_digest(self) -> str | None:
        """That of the file, and the member's name."""
        digest = self._of.content_digest()
        return None if digest is None else f"{digest}:{self._member}"

    def __repr__(self) -> str:
        return f"Unpacked({self.name!r}, {self._member!r}, {size_text(self.size)})"
