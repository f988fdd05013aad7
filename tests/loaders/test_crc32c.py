"""CRC-32C next to its definition, at the sizes where its way of computing changes."""

from __future__ import annotations

import numpy as np
import pytest

from kigraph.graph.formats.crc32c import _BLOCK, _OFFSETS, crc32c

LEFT = _OFFSETS[-1]
#: From bits to bytes, from bytes to words, from one block of words to several.
EDGES = [LEFT // 8, LEFT, 8 * LEFT, 8 * (LEFT + _BLOCK), 8 * (LEFT + 2 * _BLOCK)]
SIZES = sorted({*range(12), *(edge + more for edge in EDGES for more in (-8, -1, 0, 1, 7, 8, 9))})


def by_definition(data: bytes) -> int:
    """Byte by byte, with a table of 256."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    register = 0xFFFFFFFF
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize("size", SIZES)
def test_random_bytes(size: int, seed: int) -> None:
    data = np.random.default_rng([seed, size]).integers(0, 256, size, dtype=np.uint8)
    before = data.tobytes()
    wanted = by_definition(before)
    assert crc32c(data.data) == wanted
    assert data.tobytes() == before
    assert crc32c(before) == wanted


@pytest.mark.parametrize("size", [5, 2000, 60_000, 400_000])
def test_every_kind_of_place_counts(size: int) -> None:
    """One changed bit changes the checksum, wherever it is."""
    data = bytearray(size)
    plain = crc32c(data)
    for at in {0, 3, 4, size // 2, size - 1}:
        data[at] ^= 0x10
        assert crc32c(data) == by_definition(bytes(data)) != plain
        data[at] ^= 0x10


def test_offsets_are_a_multiple_of_the_polynomial() -> None:
    """Moved bits: 1 + x^426 + x^1362 + x^5685 leaves no rest."""
    rest, rests = 1, []
    for _ in range(LEFT + 1):
        rests.append(rest)
        rest = rest << 1 ^ (0x11EDC6F41 if rest >> 31 else 0)
    assert rests[0] ^ rests[LEFT - _OFFSETS[1]] ^ rests[LEFT - _OFFSETS[0]] ^ rests[LEFT] == 0
