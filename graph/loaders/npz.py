"""NumPy's .npz as numpy.savez writes it: a zip archive of stored .npy members. No pickled objects.

numpy.load is not used: zipfile inflates without a limit and raises errors of many kinds, and the header of a .npy is
evaluated as a Python literal. Format: numpy.lib.format.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

from ..formats.archive import Archive, Member
from ..formats.limits import Budget
from ..formats.source import Source

__all__ = ["read_npz"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16
_HEADER = re.compile(
    r"\{'descr': '([<>|=][biufc][0-9]{1,2})', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \}\s*"
)
_SIZE = re.compile(r"[0-9]{1,19}")


def read_npz(source: Source, budget: Budget) -> dict[str, np.ndarray[Any, Any]]:
    """All arrays by name, in the file's order. Booleans, integers, floats and complex numbers.

    Sizes are counted against the budget before anything is allocated. Raises LoadError.
    """
    archive = Archive(source, budget)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name in archive.members:
        if not name.endswith(".npy"):
            raise budget.error(f"member {name!r}", "another kind of file", "arrays (.npy)")
        arrays[name.removesuffix(".npy")] = _array(source, budget, archive, archive.stored(name))
    return arrays


def _array(source: Source, budget: Budget, archive: Archive, member: Member) -> np.ndarray[Any, Any]:
    place = f"member {member.name!r}"
    head = source.read(member.start, min(member.size, 12))
    if head[:6] != _MAGIC or len(head) < 12 or head[6] not in (1, 2, 3) or head[7] != 0:
        raise budget.error(place, f"{head[:8]!r}", "a NumPy array")
    start, length = (10, struct.unpack("<H", head[8:10])[0]) if head[6] == 1 else (12, *struct.unpack("<I", head[8:]))
    if length > min(_MAX_HEADER, member.size - start):
        raise budget.error(place, f"a header of {length} bytes", f"at most {min(_MAX_HEADER, member.size - start)}")
    text = source.read(member.start + start, length).decode("latin-1")
    match = _HEADER.fullmatch(text)
    sizes = [] if match is None else [s.strip() for s in match[3].split(",") if s.strip()]
    if match is None or not all(map(_SIZE.fullmatch, sizes)):
        raise budget.error(
            f"the header of {place}", f"{text[:120]!r}", "a plain array of numbers, as numpy.savez writes it"
        )
    try:
        dtype = np.dtype(match[1])
    except TypeError:
        raise budget.error(f"the header of {place}", f"element type {match[1]!r}", "numbers") from None
    shape = tuple(map(int, sizes))
    count = budget.tensor(shape, dtype.itemsize, place)
    if count * dtype.itemsize != member.size - start - length:
        raise budget.error(
            place, f"{member.size - start - length} bytes", f"{count * dtype.itemsize} bytes for {match[1]} {shape}"
        )
    archive.check(member)
    return _elements(source, member.start + start + length, dtype, shape, match[2] == "True")


def _elements(
    source: Source, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool
) -> np.ndarray[Any, Any]:
    stored = shape[::-1] if fortran else shape
    if dtype.kind == "b":
        found: np.ndarray[Any, Any] = source.array(offset, np.dtype(np.uint8), stored) != 0
    else:
        raw = source.array(offset, np.dtype(np.uint8), (*stored, dtype.itemsize))
        found = raw.view(dtype)[..., 0].astype(dtype.newbyteorder("="), copy=False)
    found = found.reshape(stored)
    return np.ascontiguousarray(found.T).reshape(shape) if fortran else found
