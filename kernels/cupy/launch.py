"""What a kernel module needs of the machine that runs its CUDA sources: a Launcher, passed in, never imported.

There are two: ``runtime.CudaLauncher`` (NVRTC and a GPU) and ``testing.launcher.HostLauncher`` (g++ and fibers).
Everything else, how kernels are prepared, which tiles are taken, how arguments are laid out, is the same code on both.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np

from ..checks import pitch_of, refuse_dtypes
from ..devices import Device
from ..errors import KernelError
from ..kernel import Constants, Prepared, Query, Run
from ..tensor import Array, DType

__all__ = [
    "ACTIVATIONS",
    "C_TYPES",
    "MAX_ELEMENTS",
    "MAX_RANK",
    "THREADS",
    "Build",
    "Function",
    "Launch",
    "LaunchPrepared",
    "Launcher",
    "Rows",
    "dense",
    "element_strides",
    "float32_only",
    "grid_for",
    "input_rows",
    "launched",
    "pointer",
    "rows_of",
    "scalar",
    "set_launcher",
    "strided",
    "strided_type",
    "too_large",
    "types_only",
    "using_launcher",
]

Pair = tuple[int, int]

#: Threads of a block of the kernels without tiles.
THREADS = 256
#: Mirrors common.cuh.
MAX_RANK = 8
#: Indices are decoded in 32 bits.
MAX_ELEMENTS = 2**31 - 1
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 2}

#: The element types that kernels over any type are compiled for, and what C calls them.
C_TYPES: dict[DType, str] = {
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
    np.dtype(np.int8): "signed char",
    np.dtype(np.int16): "short",
    np.dtype(np.int32): "int",
    np.dtype(np.int64): "long long",
    np.dtype(np.uint8): "unsigned char",
    np.dtype(np.uint16): "unsigned short",
    np.dtype(np.uint32): "unsigned int",
    np.dtype(np.uint64): "unsigned long long",
    np.dtype(np.bool_): "bool",
}


@dataclass(frozen=True, slots=True)
class Build:
    """One compilation: a file of cuda/ and the macros that it is compiled with."""

    source: str
    defines: tuple[tuple[str, str | int], ...] = ()

    def __str__(self) -> str:
        return " ".join([self.source, *(f"{name}={value}" for name, value in self.defines)])


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel of a build."""

    build: Build
    name: str


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel launch with everything fixed. Arguments are ctypes values, in the order of the kernel's parameters."""

    function: Function
    grid: tuple[int, int, int]
    threads: int
    arguments: tuple[Any, ...]
    shared_bytes: int = 0
    #: ``void*[]``: addresses of the arguments, as cuLaunchKernel takes them.
    table: Any = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        addresses = [ctypes.addressof(a) for a in self.arguments]
        object.__setattr__(self, "table", (ctypes.c_void_p * len(addresses))(*addresses))


class Launcher(Protocol):
    """Compiles, and makes launches ready to run."""

    @property
    def device(self) -> Device: ...

    @property
    def multiprocessors(self) -> int:
        """How many thread blocks run side by side at least; tiles are chosen by it."""
        ...

    def address(self, array: Array) -> int:
        """The device address of an array's first element."""
        ...

    def bind(self, launches: Sequence[Launch], keep: Sequence[Any]) -> Run:
        """A callable that does the launches in order on the current stream and keeps ``keep`` alive. Compiles if needed."""
        ...


def pointer(launcher: Launcher, array: Array | None) -> ctypes.c_void_p:
    """The address as a kernel argument, null for no array; KernelError if it is not aligned to the element."""
    if array is None:
        return ctypes.c_void_p(None)
    address = launcher.address(array)
    if address % array.dtype.itemsize:
        raise KernelError(
            f"cupy: an array of {array.dtype} is at address {address:#x}, which is not a multiple of its element's "
            f"{array.dtype.itemsize} bytes; GPUs cannot read that. Remedy: copy it into an aligned array"
        )
    return ctypes.c_void_p(address)


def grid_for(total: int, threads: int = THREADS) -> tuple[int, int, int]:
    """Blocks for a grid-stride loop over ``total`` elements; at most 65,536, each thread then takes several."""
    return (max(1, min(-(-total // threads), 65536)), 1, 1)


@dataclass(frozen=True, slots=True)
class LaunchPrepared:
    """A Prepared whose launches are computed from the bound arrays by one function."""

    launcher: Launcher
    launches: Callable[[Sequence[Array], Sequence[Array], Array | None], list[Launch]]
    workspace_bytes: int = 0
    absorbed: frozenset[int] = frozenset()

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        launches = self.launches(inputs, outputs, workspace)
        return self.launcher.bind(launches, (*inputs, *outputs, workspace))


def scalar(dtype: DType, value: Any) -> Any:
    """A kernel argument of an element type."""
    return np.ctypeslib.as_ctypes_type(dtype)(value)


class Rows(ctypes.Structure):
    """Mirrors common.cuh: rows of dense elements, one pitch."""

    _fields_ = (
        ("total", ctypes.c_longlong),
        ("cols", ctypes.c_longlong),
        ("x_pitch", ctypes.c_longlong),
        ("y_pitch", ctypes.c_longlong),
    )


def element_strides(array: Array) -> tuple[int, ...]:
    """Strides in elements."""
    size = array.dtype.itemsize
    if any(s % size for s in array.strides):
        raise KernelError(f"cupy: strides {array.strides} are not multiples of the {size} bytes of an element")
    return tuple(int(s) // size for s in array.strides)


def dense(what: str, array: Array) -> None:
    """KernelError if an array is not dense row-major."""
    expected = 1
    for size, stride in zip(array.shape[::-1], element_strides(array)[::-1], strict=True):
        if size > 1 and stride != expected and array.size:
            raise KernelError(f"cupy: {what} of shape {array.shape} has byte strides {array.strides}; it must be dense")
        expected *= size


def rows_of(x: Array, y: Array) -> Rows:
    """Both arrays (of one shape) as rows; as one single row if both are dense."""
    cols = int(x.shape[-1]) if x.ndim else 1
    x_pitch, y_pitch = pitch_of("cupy: the input", x), pitch_of("cupy: the output", y)
    if x_pitch == cols and y_pitch == cols:
        return Rows(x.size, max(x.size, 1), 0, 0)
    return Rows(x.size, cols, x_pitch, y_pitch)


def input_rows(x: Array, y: Array) -> Rows:
    """As rows_of, but rows stay apart, for kernels that need the channel's number."""
    cols = int(x.shape[-1]) if x.ndim else 1
    return Rows(x.size, max(cols, 1), pitch_of("cupy: the input", x), pitch_of("cupy: the output", y))


_STRIDED: dict[int, type[ctypes.Structure]] = {}


def strided_type(arrays: int) -> type[ctypes.Structure]:
    """The ctypes mirror of ``Strided<arrays>`` of common.cuh."""
    if arrays not in _STRIDED:
        fields = (
            ("total", ctypes.c_longlong),
            ("rank", ctypes.c_int),
            ("shape", ctypes.c_int * MAX_RANK),
            ("stride", ctypes.c_longlong * MAX_RANK * arrays),
        )
        _STRIDED[arrays] = type(f"Strided{arrays}", (ctypes.Structure,), {"_fields_": fields})
    return _STRIDED[arrays]


def strided(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> Any:
    """The ``Strided<n>`` of common.cuh for n arrays that are traversed as one shape; strides in elements.

    Axes of size 1 are dropped, and adjacent axes that are one axis in every array are merged.
    """
    axes: list[tuple[int, list[int]]] = []
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        step = [s[axis] for s in strides]
        if axes and all(outer == inner * size for outer, inner in zip(axes[-1][1], step, strict=True)):
            axes[-1] = (axes[-1][0] * size, step)
        else:
            axes.append((size, step))
    if len(axes) > MAX_RANK:
        raise KernelError(f"cupy: shape {tuple(shape)} has {len(axes)} axes that cannot be merged; at most {MAX_RANK}")
    record = strided_type(len(strides))()
    record.total = prod(shape)
    record.rank = len(axes)
    for axis, (size, step) in enumerate(axes):
        record.shape[axis] = size
        for number, stride in enumerate(step):
            record.stride[number][axis] = stride
    return record


_USED: ContextVar[Launcher | None] = ContextVar("kigraph_cupy_launcher", default=None)
_DEFAULT: list[Launcher] = []


def set_launcher(launcher: Launcher) -> None:
    """The launcher of the process, for kernels that are prepared outside of ``using_launcher``."""
    _DEFAULT[:] = [launcher]


@contextmanager
def using_launcher(launcher: Launcher) -> Iterator[None]:
    """Kernels that are prepared inside run on this launcher (an emulated one, say)."""
    token = _USED.set(launcher)
    try:
        yield
    finally:
        _USED.reset(token)


def launched(prepare: Callable[..., Prepared], *arguments: Any) -> Callable[[Query, Constants], Prepared]:
    """``Kernel.prepare`` from ``prepare(launcher, *arguments, query, constants)``."""

    def prepare_for(query: Query, constants: Constants) -> Prepared:
        return prepare(_USED.get() or _DEFAULT[0], *arguments, query, constants)

    return prepare_for


def too_large(query: Query) -> str | None:
    """A reason if an array has more elements than 32-bit indices can address."""
    for t in (*query.inputs, *query.outputs):
        if t.size > MAX_ELEMENTS:
            return f"{t} has more than 2^31 - 1 elements"
    return None


def float32_only(query: Query) -> str | None:
    """A reason if an input or output is anything but float32, or too large."""
    for t in (*query.inputs, *query.outputs):
        if t.dtype != np.float32:
            return f"float32 only, got {t}"
    return too_large(query)


def types_only(query: Query, allowed: Iterable[DType]) -> str | None:
    """A reason if the first input's element type is not among ``allowed``, or an array is too large."""
    return refuse_dtypes(query, allowed) or too_large(query)
