"""LoadLimits, what a file may ask for, and Budget, the running account that all loaders share.

Nothing is allocated for a declared size before the budget agreed. The declared sizes of all tensors of a file
are added up, so that many medium tensors cannot exceed the limit of one huge one.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from math import prod

from ...kernels.records import dataclass
from ..errors import LoadError

__all__ = ["Budget", "LoadLimits", "brief", "load_error", "size_text"]

#: Bytes that can be addressed; NumPy refuses shapes beyond it even if another axis is empty.
_MAX_ADDRESS = 1 << 62
#: A small file may expand to this much whatever its ratio is (a network's worth of zeros takes a few bytes).
_FREE_EXPANSION = 64 << 20
#: NumPy stops at 64 axes; nothing real comes near 32.
_MAX_RANK = 32
#: Repeated elements (attributes, inputs, dims) per allowed node; real graphs have about ten per node.
_ITEMS_PER_NODE = 10
#: A graph of few nodes has fewer (250,000 by default): a list of a million small messages takes a gigabyte.
_FREE_ITEMS, _FREE_ITEMS_PER_NODE = 10_000, 5 / 4


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """The most that a file may ask for. Give a larger one to ``load`` for a trusted file that needs it."""

    #: Size of the file, and bytes of all its tensors together once decoded.
    max_bytes: int = 4 << 30
    max_tensors: int = 100_000
    max_nodes: int = 200_000
    #: Nesting of messages, groups and containers.
    max_depth: int = 64
    #: Decoded bytes per stored byte (beyond the first 64 MiB).
    max_expansion: int = 100


_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 2


def brief(value: object) -> str:
    """repr for messages, bounded: a plain repr of nested shared containers takes exponential time."""
    return _BRIEF.repr(value)


def size_text(n: int) -> str:
    """1536 -> '1.5 KiB'; stays readable for absurd sizes."""
    if n < 1024:
        return f"{n} bytes"
    value = float(min(n, 1 << 1000))
    for unit in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.6g} EiB"


def load_error(file: str, place: str, found: str, expected: str, remedy: str = "") -> LoadError:
    """The one form of a LoadError: file, place, what was found, what was expected, what to do."""
    text = f"{file}: {place}: found {found}; expected {expected}"
    return LoadError(f"{text}. {remedy}" if remedy else text)


@dataclass(slots=True)
class _Counts:
    size: int = 0
    bytes: int = 0
    items: int = 0
    nodes: int = 0
    tensors: int = 0


class Budget:
    """The account of one model: counts what its file asks for and refuses what is over the limits.

    ``file`` is the name used in messages, ``size`` the bytes of the file, or of all files that the model is made of.
    """

    __slots__ = ("_counts", "file", "limits")

    def __init__(self, file: str, size: int, limits: LoadLimits | None = None) -> None:
        self.file = file
        self.limits = limits or LoadLimits()
        self._counts = _Counts()
        self._add_size(size)

    @property
    def size(self) -> int:
        return self._counts.size

    def of_another(self, file: str, size: int) -> Budget:
        """The same account under the name of a further file of the model, whose size is added."""
        other = Budget(file, 0, self.limits)
        other._counts = self._counts
        other._add_size(size)
        return other

    def _add_size(self, size: int) -> None:
        self._counts.size += size
        if self._counts.size > self.limits.max_bytes:
            raise self.error(
                "the whole file",
                size_text(self._counts.size),
                f"at most {size_text(self.limits.max_bytes)} (LoadLimits.max_bytes)",
                "Give a larger LoadLimits if you trust the file.",
            )

    def error(self, place: str, found: str, expected: str, remedy: str = "") -> LoadError:
        return load_error(self.file, place, found, expected, remedy)

    def _over(self, what: str, place: str, name: str, limit: int) -> LoadError:
        return self.error(
            place,
            f"more than {limit:,} {what}",
            f"at most {limit:,} (LoadLimits.{name})",
            "Give a larger LoadLimits if you trust the file.",
        )

    def nodes(self, place: str, count: int = 1) -> None:
        self._counts.nodes += count
        if self._counts.nodes > self.limits.max_nodes:
            raise self._over("nodes", place, "max_nodes", self.limits.max_nodes)

    def item(self, what: str, at: int, count: int = 1) -> None:
        """Counts elements of lists and maps, so that two bytes each cannot become hundreds in memory."""
        self._counts.items += count
        if self._counts.items > self.limits.max_nodes * _ITEMS_PER_NODE:
            raise self.too_many_items(what, at, self.limits.max_nodes * _ITEMS_PER_NODE)

    def items_for(self, nodes: int) -> int:
        """The most items that a graph may have when this number of its nodes has been read."""
        most = self.limits.max_nodes
        free = max(_FREE_ITEMS, int(most * _FREE_ITEMS_PER_NODE))
        return min(most * _ITEMS_PER_NODE, free + 2 * _ITEMS_PER_NODE * nodes)

    def too_many_items(self, what: str, at: int, limit: int) -> LoadError:
        return self._over("list elements", f"{what}, byte {at}", "max_nodes", limit)

    def depth(self, depth: int, what: str, at: int) -> None:
        if depth > self.limits.max_depth:
            raise self._over("levels of nesting", f"{what}, byte {at}", "max_depth", self.limits.max_depth)

    def tensor(self, shape: Sequence[int], itemsize: int, place: str) -> int:
        """Counts a declared tensor and returns its number of elements. Python's integers cannot overflow here."""
        self._counts.tensors += 1
        if self._counts.tensors > self.limits.max_tensors:
            raise self._over("tensors", place, "max_tensors", self.limits.max_tensors)
        if len(shape) > _MAX_RANK:
            raise self.error(place, f"a tensor of {len(shape)} axes", f"at most {_MAX_RANK} axes")
        if any(d < 0 for d in shape):
            raise self.error(place, f"shape {tuple(shape)}", "sizes of at least 0")
        if prod(d for d in shape if d) * itemsize > _MAX_ADDRESS:
            raise self.error(place, f"shape {tuple(shape)}", f"at most {_MAX_ADDRESS // itemsize:,} elements")
        count = prod(shape)
        self.bytes(count * itemsize, f"{place} (declared shape {tuple(shape)})")
        return count

    def bytes(self, count: int, place: str) -> None:
        """Counts decoded bytes, against the absolute limit and against the size of the file."""
        self._counts.bytes += count
        limits = self.limits
        if self._counts.bytes > limits.max_bytes:
            raise self.error(
                place,
                f"{size_text(self._counts.bytes)} declared so far",
                f"at most {size_text(limits.max_bytes)} (LoadLimits.max_bytes)",
                "The file is damaged or hostile, or needs a larger LoadLimits.",
            )
        if self._counts.bytes > _FREE_EXPANSION + limits.max_expansion * self._counts.size:
            raise self.error(
                place,
                f"{size_text(self._counts.bytes)} declared by a file of {size_text(self.size)}",
                f"at most {limits.max_expansion} times the file's size (LoadLimits.max_expansion)",
                "The file is damaged or hostile, or needs a larger LoadLimits.",
            )
