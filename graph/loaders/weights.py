"""WeightsFile: named arrays of a weights-only file, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import field
from types import MappingProxyType
from typing import Any

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import DType
from ..errors import LoadError
from ..hints import similar

__all__ = ["BFLOAT16", "TensorInfo", "WeightsFile", "widen_bfloat16"]

#: Stored element type that NumPy lacks; read as float32, which holds every bfloat16 exactly.
BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One array of a file. ``stored``: its element type in the file, by name; ``dtype``: what ``read`` gives.

    ``load`` reads the array anew each time, dense and in row-major order; ``key`` identifies its content.
    """

    dtype: DType
    shape: tuple[int, ...]
    stored: str
    load: Callable[[], np.ndarray[Any, Any]] = field(repr=False)
    key: Hashable = field(repr=False)


@dataclass(frozen=True, slots=True)
class WeightsFile(Mapping[str, TensorInfo]):
    """The arrays of a file by name, in the file's order. ``metadata``: what else the file says of itself."""

    file: str
    family: str
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def parameters(self) -> int:
        """Number of elements of all arrays."""
        return sum(int(np.prod(t.shape, dtype=object)) for t in self.tensors.values())

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """The array of that name. Raises LoadError if there is none, or if the file was changed meanwhile."""
        return self[name].load()

    def __getitem__(self, name: str) -> TensorInfo:
        try:
            return self.tensors[name]
        except KeyError:
            near = similar(name, self.tensors)
            hint = f"similar: {near}" if near else f"it has {len(self.tensors)} others"
            raise _MissingWeightError(f"{self.file}: there is no array '{name}'; {hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


class _MissingWeightError(LoadError, KeyError):
    """A LoadError that Mapping's own methods (get, in) understand."""

    __str__ = Exception.__str__


def widen_bfloat16(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """uint16 bit patterns of bfloat16 to float32; exact."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)
