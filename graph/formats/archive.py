"""A zip archive as weight files use it: members found by name, checked by CRC; arrays are in members without compression.

Python's zipfile is not used: it inflates without a limit, trusts the directory's counts and keeps the file open
itself. Here encryption, duplicates, absolute names, names with '..' and members that overlap are refused, and a deflated
member is inflated as a whole, within the budget. Format: PKWARE's APPNOTE.
"""

from __future__ import annotations

import struct
import threading
import zlib
from dataclasses import dataclass

from .limits import Budget, size_text
from .source import Source

__all__ = ["Archive", "Member"]

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL = b"PK\x01\x02", b"PK\x03\x04"
_MAX_COMMENT = 0xFFFF
_BLOCK = 1 << 20
_DEFLATE = 8
_MAX_NAME = 1024


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive; ``start`` is where its bytes begin, -1 if it is compressed.

    ``at``, ``packed``: where the ``packed`` compressed bytes begin; -1 for methods other than deflate.
    """

    name: str
    start: int
    size: int
    crc: int
    method: int = 0
    at: int = -1
    packed: int = 0


class Archive:
    """The directory of an archive. Raises LoadError for anything but plain stored members."""

    def __init__(self, source: Source, budget: Budget) -> None:
        self._source, self._budget = source, budget
        self._checked: set[str] = set()
        self._lock = threading.Lock()
        offset, size, count = self._end()
        self.members = self._directory(offset, size, count)

    def _end(self) -> tuple[int, int, int]:
        source = self._source
        tail_start = max(0, source.size - _MAX_COMMENT - 22)
        tail = source.read(tail_start, source.size - tail_start)
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < 22:
            raise self._budget.error(
                "the end of the archive", "no directory", "a zip directory", "The file is truncated: fetch it again."
            )
        disk, _, _, count, size, offset, comment = struct.unpack("<HHHHIIH", tail[at + 4 : at + 22])
        if disk not in (0, 0xFFFF) or at + 22 + comment != len(tail):
            raise self._budget.error("the end of the archive", "several disks or trailing bytes", "a single archive")
        where = tail_start + at
        if where >= 20 and source.read(where - 20, 4) == _LOCATOR64:
            (where64,) = struct.unpack("<Q", source.read(where - 12, 8))
            if where64 > where - 76 or source.read(where64, 4) != _END64:
                raise self._budget.error("the zip64 directory", f"offset {where64}", "its end record")
            count, size, offset = struct.unpack("<QQQ", source.read(where64 + 32, 24))
            where = where64
        if offset + size > where:
            raise self._budget.error("the directory", f"{size} bytes from {offset}", f"a range below {where}")
        return offset, size, count

    def _directory(self, offset: int, size: int, count: int) -> dict[str, Member]:
        budget = self._budget
        # Every array is a member, and there are a few more (data.pkl, version, byteorder, ...).
        most = budget.limits.max_tensors + 16
        if count > most or size > most * 256:
            raise budget.error(
                "the directory", f"{count} members in {size_text(size)}", f"at most {most} (LoadLimits.max_tensors)"
            )
        raw = self._source.read(offset, size)
        members: dict[str, Member] = {}
        at = 0
        while at < size:
            if raw[at : at + 4] != _CENTRAL or size - at < 46:
                raise budget.error(f"the directory, byte {at}", f"{raw[at : at + 4]!r}", "an entry")
            flags, method = struct.unpack("<HH", raw[at + 8 : at + 12])
            crc, packed, full, names, extras, comments = struct.unpack("<IIIHHH", raw[at + 16 : at + 34])
            (local,) = struct.unpack("<I", raw[at + 42 : at + 46])
            name_bytes = raw[at + 46 : at + 46 + names]
            extra = raw[at + 46 + names : at + 46 + names + extras]
            at += 46 + names + extras + comments
            if at > size:
                raise budget.error("the directory", "an entry that goes beyond its end", "whole entries")
            full, packed, local = self._zip64(extra, full, packed, local)
            name = self._name(name_bytes)
            if name in members:
                raise budget.error(f"member {name!r}", "a second member of that name", "unique names")
            if flags & 0x2041:
                raise budget.error(f"member {name!r}", "encryption", "plain members")
            start = at_data = -1
            if method == 0:
                if packed != full:
                    raise budget.error(f"member {name!r}", f"{packed} bytes stored for {full}", "equal sizes")
                start = at_data = self._start(name, name_bytes, local, full, offset)
            elif method == _DEFLATE:
                at_data = self._start(name, name_bytes, local, packed, offset, method)
            members[name] = Member(name, start, full, crc, method, at_data, packed)
        if len(members) != count:
            raise budget.error("the directory", f"{len(members)} members", f"{count}")
        self._check_overlaps(members)
        return members

    def _zip64(self, extra: bytes, full: int, packed: int, local: int) -> tuple[int, int, int]:
        """Sizes and offset that did not fit into 32 bits are in extra field 1, in this order."""
        values = [full, packed, local]
        at = 0
        while at + 4 <= len(extra):
            tag, size = struct.unpack("<HH", extra[at : at + 4])
            if tag == 1:
                data = extra[at + 4 : at + 4 + size]
                for i in range(3):
                    if values[i] == 0xFFFFFFFF and len(data) >= 8:
                        values[i] = struct.unpack("<Q", data[:8])[0]
                        data = data[8:]
            at += 4 + size
        return values[0], values[1], values[2]

    def _name(self, raw: bytes) -> str:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            name = ""
        parts = name.split("/")
        if not name or len(raw) > _MAX_NAME or name[0] == "/" or "\\" in name or "\0" in name or ".." in parts:
            raise self._budget.error("the directory", f"the name {raw[:80]!r}", "a relative name without '..'")
        return name

    def _start(self, name: str, raw_name: bytes, local: int, size: int, directory: int, wanted: int = 0) -> int:
        """Where the bytes of a member begin; its local header must agree with the directory."""
        if local + 30 > directory:
            raise self._budget.error(f"member {name!r}", f"a header at byte {local}", f"one below byte {directory}")
        head = self._source.read(local, 30)
        flags, method = struct.unpack("<HH", head[6:10])
        names, extras = struct.unpack("<HH", head[26:30])
        start: int = local + 30 + names + extras
        whole = names == len(raw_name) and start + size <= directory
        if head[:4] != _LOCAL or method != wanted or flags & 0x2041 or not whole:
            raise self._budget.error(f"member {name!r}", "a header that contradicts the directory", "equal headers")
        if self._source.read(local + 30, names) != raw_name:
            raise self._budget.error(f"member {name!r}", "another name in its header", "equal names")
        return start

    def _check_overlaps(self, members: dict[str, Member]) -> None:
        at, before = 0, ""
        for member in sorted(members.values(), key=lambda m: m.at):
            if member.at < 0:
                continue
            if member.at < at:
                raise self._budget.error(f"member {member.name!r}", f"an overlap with {before!r}", "separate members")
            at, before = member.at + member.packed, member.name

    def stored(self, name: str) -> Member:
        """A member that must exist and be stored without compression."""
        member = self.members.get(name)
        if member is None:
            raise self._budget.error("the archive", f"no member {name!r}", "the member")
        if member.start < 0:
            raise self._budget.error(
                f"member {name!r}",
                f"compression method {member.method}",
                "a stored member, as torch.save and numpy.savez write them",
            )
        return member

    def check(self, member: Member) -> None:
        """Compares the CRC; once per member and process."""
        with self._lock:
            if member.name in self._checked:
                return
        crc = 0
        for offset in range(0, member.size, _BLOCK):
            crc = zlib.crc32(self._source.read(member.start + offset, min(_BLOCK, member.size - offset)), crc)
        if crc != member.crc:
            raise self._budget.error(
                f"member {member.name!r}", f"CRC {crc:08x}", f"{member.crc:08x}", "The file is damaged: fetch it again."
            )
        with self._lock:
            self._checked.add(member.name)

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of a small member."""
        member = self.stored(name)
        if member.size > limit:
            raise self._budget.error(f"member {name!r}", size_text(member.size), f"at most {size_text(limit)}")
        self.check(member)
        return self._source.read(member.start, member.size)

    def unpack(self, name: str, limit: int | None = None) -> bytes:
        """The bytes of a member, stored or deflated. What it declares is counted against the budget before it is inflated."""
        member = self.members.get(name)
        if member is None or member.start >= 0 or member.method != _DEFLATE:
            return self.read(name, self._source.size if limit is None else limit)
        place = f"member {name!r}"
        if limit is not None and member.size > limit:
            raise self._budget.error(place, size_text(member.size), f"at most {size_text(limit)}")
        self._budget.bytes(member.size, place)
        engine, done = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
        try:
            for offset in range(0, member.packed, _BLOCK):
                part = self._source.read(member.at + offset, min(_BLOCK, member.packed - offset))
                done += engine.decompress(part, member.size - len(done) + 1)
                if len(done) > member.size:
                    break
        except zlib.error as e:
            raise self._budget.error(
                place, f"damaged deflate data ({e})", "whole data", "Fetch the file again."
            ) from None
        if len(done) != member.size or not engine.eof or zlib.crc32(done) != member.crc:
            raise self._budget.error(
                place, f"{len(done)} bytes, or another CRC", f"{member.size} bytes", "Fetch it again."
            )
        return bytes(done)
