"""The arrays of a state dict: read when used, float32, in the axis order that an op takes; none may be left over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from ....kernels.tensor import is_float
from ...errors import LoadError
from ...formats.limits import load_error
from ...ir import Literal
from ...loaders.weights import TensorInfo, WeightsFile

__all__ = ["EXPORT", "Arrays", "bare_names"]

FLOAT32 = np.dtype(np.float32)
#: The way out for what a state dict does not say.
EXPORT = (
    "A state dict does not say how its arrays are connected. Save the network with its operations: "
    "torch.export.save(torch.export.export(model.eval(), (torch.zeros(1, 3, 224, 224),)), 'model.pt2')"
)
#: Modules that training programs put around a network.
_WRAPPERS = ("module.", "model.", "_orig_mod.", "backbone.", "net.", "network.")
#: Counts of training steps: of AveragedModel, and of every batch norm.
_COUNTS = re.compile(r"n_averaged|(?:.*\.)?num_batches_tracked")
_SHOWN = 5


def bare_names(file: WeightsFile) -> WeightsFile:
    """The file without counters, and without the modules that all its names are inside of (module., model., _orig_mod.)."""
    if file.family not in ("torch", "safetensors", "npz"):
        return file
    tensors: Mapping[str, TensorInfo] = {
        name: info for name, info in file.tensors.items() if info.shape != () or not _COUNTS.fullmatch(name)
    }
    while tensors:
        first = next(iter(tensors))
        prefix = next((p for p in _WRAPPERS if first.startswith(p)), None)
        if prefix is None or not all(name.startswith(prefix) and len(name) > len(prefix) for name in tensors):
            break
        tensors = {name.removeprefix(prefix): info for name, info in tensors.items()}
    return replace(file, tensors=MappingProxyType(dict(tensors)))


class Arrays:
    """The arrays by name, as ``bare_names`` gives them. ``network``: what is built, for messages."""

    def __init__(self, file: WeightsFile, network: str) -> None:
        self.file, self.network = file, network
        self._used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.file.tensors

    def error(self, place: str, found: str, expected: str, remedy: str = "") -> LoadError:
        return load_error(self.file.file, place, found, expected, remedy or f"{EXPORT}.")

    def shape(self, name: str, rank: int | None = None) -> tuple[int, ...]:
        """The shape of an array, which has to have ``rank`` axes, none of them empty."""
        if name not in self.file.tensors:
            raise self.error(f"{self.network}", f"no array '{name[:100]}'", "all arrays of the network")
        shape = self.file.tensors[name].shape
        if (rank is not None and len(shape) != rank) or not all(shape):
            wanted = "sizes from 1" if rank is None or len(shape) == rank else f"{rank} axes"
            raise self.error(f"array '{name[:100]}'", f"shape {shape}", wanted)
        return shape

    def numbers(self, prefix: str, rest: str = ".") -> list[int]:
        """The numbers that follow ``prefix`` in names, ascending, before ``rest``."""
        pattern = re.compile(rf"{re.escape(prefix)}(\d{{1,4}}){re.escape(rest)}")
        return sorted({int(m[1]) for name in self.file.tensors if (m := pattern.match(name))})

    def count(self, prefix: str, rest: str = ".", first: int = 0) -> int:
        """How many numbers follow ``prefix``; LoadError if one is missing."""
        found = self.numbers(prefix, rest)
        if found != list(range(first, first + len(found))):
            raise self.error(f"the names '{prefix}N'", f"N = {found[:8]}", f"{first}, {first + 1}, ... without a gap")
        return len(found)

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The value of a small array that decides something while the network is built."""
        self.shape(name)
        self._used.add(name)
        return np.asarray(self.file.read(name))

    def skip(self, *names: str) -> None:
        """Arrays that count as used: for training only."""
        self._used.update(names)

    def literal(
        self,
        name: str,
        shape: tuple[int, ...],
        axes: tuple[int, ...] = (),
        before: tuple[int, ...] = (),
        after: tuple[int, ...] = (),
    ) -> Literal:
        """The array, which has to have ``shape``: reshaped to ``before``, axes permuted, reshaped to ``after``."""
        found = self.shape(name, len(shape))
        info = self.file.tensors[name]
        if found != shape:
            raise self.error(f"array '{name[:100]}'", f"shape {found}", f"{shape}, which fits what comes before")
        if not is_float(info.dtype):
            raise self.error(f"array '{name[:100]}'", f"element type {info.stored}", "floating point")
        self._used.add(name)
        middle = before or shape
        order = axes or tuple(range(len(middle)))
        final = after or tuple(middle[a] for a in order)

        def load() -> np.ndarray[Any, Any]:
            value = info.load().reshape(middle).transpose(order)
            return np.ascontiguousarray(value, FLOAT32).reshape(final)

        return Literal.lazy(FLOAT32, final, load, (info.key, middle, order, final, "float32"))

    def finish(self) -> None:
        """LoadError that names what no layer took."""
        rest = [name for name in self.file.tensors if name not in self._used]
        if rest:
            shown = ", ".join(f"'{n[:100]}' {self.file.tensors[n].shape}" for n in rest[:_SHOWN])
            more = f" and {len(rest) - _SHOWN} more" if len(rest) > _SHOWN else ""
            raise self.error(
                "the arrays",
                f"{len(rest)} that no layer of the network takes: {shown}{more}",
                f"those of {self.network}",
            )
