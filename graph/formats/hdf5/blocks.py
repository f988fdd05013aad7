"""Bytes of the file by address: bounded by the file, counted, and read as little-endian fields."""

from __future__ import annotations

from ...errors import LoadError
from ..limits import Budget, size_text
from ..source import Source

__all__ = ["REMEDY", "SAVE_AGAIN", "Block", "Blocks", "checksum"]

REMEDY = "The file is truncated or damaged: fetch it again."
SAVE_AGAIN = "Save the file again with h5py's default options, or convert it with: h5repack --high=0 OLD NEW."
#: Bytes of structure that may be read, in relation to the file's size. A file has its structure once, and objects are kept.
_READ_AGAIN = 2
_FREE = 1 << 20


class Blocks:
    """The structure of an HDF5 file that begins at byte ``start`` of ``source`` and has ``size`` bytes.

    ``wide`` and ``long``: bytes of an address and of a length; the superblock sets them.
    """

    def __init__(self, source: Source, budget: Budget, start: int, size: int) -> None:
        self.source, self.budget = source, budget
        self.start, self.size = start, size
        self.wide = self.long = 8
        self._left = _FREE + _READ_AGAIN * size

    def fail(self, place: str, found: str, expected: str, remedy: str = REMEDY) -> LoadError:
        return self.budget.error(place, found, expected, remedy)

    def position(self, address: int, count: int, what: str) -> int:
        """Where the ``count`` bytes at ``address`` are in the source; they must be inside the file."""
        if address < 0 or count < 0 or address + count > self.size:
            raise self.fail(what, f"{size_text(count)} at byte {address} of {self.size}", "a place in the file")
        return self.start + address

    def read(self, address: int, count: int, what: str) -> Block:
        """Bytes of structure, as a cursor."""
        position = self.position(address, count, what)
        self.spend(count, what)
        return Block(self, self.source.read(position, count), address, what)

    def spend(self, count: int, what: str) -> None:
        """Counts bytes of structure, so that structures which share parts cannot multiply the time."""
        self._left -= count + 16
        if self._left < 0:
            raise self.fail(what, "structures that share their parts", "each part used once")

    def signed(self, address: int, count: int, signature: bytes, what: str) -> Block:
        """A block that begins with a signature; the cursor is after it."""
        block = self.read(address, count, what)
        found = block.take(len(signature))
        if found != signature:
            raise block.fail(f"bytes {found.hex(' ')}", f"the signature {signature.decode()}")
        return block


class Block:
    """A cursor over bytes. ``fail`` and every reader raise LoadError with the place in the file."""

    __slots__ = ("address", "at", "blocks", "data", "what")

    def __init__(self, blocks: Blocks, data: bytes, address: int, what: str) -> None:
        self.blocks, self.data, self.address, self.what = blocks, data, address, what
        self.at = 0

    def fail(self, found: str, expected: str, remedy: str = REMEDY) -> LoadError:
        return self.blocks.fail(f"{self.what}, byte {self.address + self.at}", found, expected, remedy)

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise self.fail(f"{self.left} bytes left", f"{count} bytes")
        result = self.data[self.at : end]
        self.at = end
        return result

    def skip(self, count: int) -> None:
        self.take(count)

    def uint(self, count: int) -> int:
        end = self.at + count
        if end > len(self.data):
            raise self.fail(f"{self.left} bytes left", f"a number of {count} bytes")
        value = int.from_bytes(self.data[self.at : end], "little")
        self.at = end
        return value

    def pointer(self) -> int | None:
        """An address; None for the undefined one."""
        value = self.uint(self.blocks.wide)
        return None if value == (1 << 8 * self.blocks.wide) - 1 else value

    def length(self) -> int:
        return self.uint(self.blocks.long)

    def version(self, *known: int) -> int:
        value = self.uint(1)
        if value not in known:
            raise self.fail(f"version {value}", f"version {' or '.join(map(str, known))}", SAVE_AGAIN)
        return value

    def sub(self, count: int) -> Block:
        """A cursor over the next ``count`` bytes."""
        address = self.address + self.at
        return Block(self.blocks, self.take(count), address, self.what)

    def text(self, count: int) -> str:
        """UTF-8 text up to the first zero byte."""
        raw = self.take(count).split(b"\0", 1)[0]
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self.fail(f"{raw[:40]!r}", "UTF-8 text") from None

    def verify(self) -> None:
        """Checks the checksum in the last four bytes, and takes them off."""
        body, stored = self.data[:-4], int.from_bytes(self.data[-4:], "little")
        if len(self.data) < 4 or checksum(body) != stored:
            raise self.fail("another checksum", f"{stored:08x}")
        self.data = body


_MASK = 0xFFFFFFFF


def checksum(data: bytes) -> int:
    """Bob Jenkins' lookup3 (hashlittle with 0), the checksum of all structures since version 1.8 of the library."""
    a = b = c = 0xDEADBEEF + len(data) & _MASK
    count = max(0, (len(data) - 1) // 12)
    words = memoryview(data[: count * 12]).cast("I")  # little-endian machines only, as everywhere here
    for i in range(0, count * 3, 3):
        a = a + words[i] & _MASK
        b = b + words[i + 1] & _MASK
        c = c + words[i + 2] & _MASK
        a = (a - c & _MASK) ^ (c << 4 & _MASK | c >> 28)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 6 & _MASK | a >> 26)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 8 & _MASK | b >> 24)
        b = b + a & _MASK
        a = (a - c & _MASK) ^ (c << 16 & _MASK | c >> 16)
        c = c + b & _MASK
        b = (b - a & _MASK) ^ (a << 19 & _MASK | a >> 13)
        a = a + c & _MASK
        c = (c - b & _MASK) ^ (b << 4 & _MASK | b >> 28)
        b = b + a & _MASK
    tail = data[count * 12 :]
    if not tail:
        return c
    last = memoryview(tail.ljust(12, b"\0")).cast("I")
    a, b, c = a + last[0] & _MASK, b + last[1] & _MASK, c + last[2] & _MASK
    for rotation, pair in ((14, "cb"), (11, "ac"), (25, "ba"), (16, "cb"), (4, "ac"), (14, "ba"), (24, "cb")):
        if pair == "cb":
            c = (c ^ b) - (b << rotation & _MASK | b >> 32 - rotation) & _MASK
        elif pair == "ac":
            a = (a ^ c) - (c << rotation & _MASK | c >> 32 - rotation) & _MASK
        else:
            b = (b ^ a) - (a << rotation & _MASK | a >> 32 - rotation) & _MASK
    return c
