"""Tensors of a run that are where the caller has them: feeds are read in place, results written into the arrays that he gets.

Their addresses change from run to run, so the steps that touch them are bound again, once for each address: programs that feed
and drop arrays of one size see the same few again and again. Copying is quicker below some size.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from ...kernels.devices import HOST
from ...kernels.kernel import Run
from ...kernels.tensor import DType, TensorType
from ..ir import Port
from .lowering import Lowering, Step
from .partition import Part

__all__ = ["OpenStep", "Results", "address_of", "array_at", "direct_ports"]

Value = np.ndarray[Any, Any]

#: Bytes of the least feed and of the least result that are not copied. Binding a kernel to new addresses takes 10 to 30 us,
#: copying 256 KB 10 to 20; results come in few addresses.
LEAST_FEED, LEAST_RESULT = 256 << 10, 128 << 10
_BYTE: Any = ctypes.c_char  # whose types do not know that NumPy's arrays are buffers
#: Bytes of the largest result of which two are kept, for programs that hold the last one while the next is computed.
_LARGE_BYTES = 32 << 20
#: Bound kernels that a step keeps, one for each address.
_KEPT = 64


def direct_ports(lowering: Lowering, part: Part, taken: Collection[Port]) -> tuple[Port, ...]:
    """Inputs and roots of outputs in main memory, but those in ``taken``, that are large enough."""

    def large(port: Port, least: int) -> bool:
        t = lowering.types[port]
        ours = port in lowering.home and lowering.home[port].name == HOST.name and port not in taken
        return ours and t.dtype.kind in "biufc" and t.nbytes >= max(least, 1)

    roots = dict.fromkeys(root for port in part.outputs if (root := lowering.root(port)) not in part.inputs)
    return (
        *(port for port in part.inputs if large(port, LEAST_FEED)),
        *(root for root in roots if large(root, LEAST_RESULT)),
    )


class _Memory:
    """Memory of somebody else, as NumPy is told of it."""

    __slots__ = ("__array_interface__",)

    def __init__(self, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface


def address_of(array: Value) -> int:
    """Where a dense array begins."""
    try:
        return ctypes.addressof(_BYTE.from_buffer(array))  # 0.4 us
    except TypeError:  # read-only
        address: int = array.__array_interface__["data"][0]  # 1.2 us
        return address


def array_at(address: int, dtype: DType, shape: Sequence[int], strides: tuple[int, ...] | None) -> Value:
    """An array over memory that it does not keep alive; strides in bytes, None = dense."""
    what = {"data": (address, False), "typestr": dtype.str, "shape": tuple(shape), "strides": strides, "version": 3}
    return np.asarray(_Memory(what))


def _references(held: Sequence[object]) -> list[int]:
    """How many references there are to each, with those of this list and this function."""
    return [getrefcount(one) for one in held]


#: References to what is in such a list only.
_UNUSED = _references([object()])[0]


class Results:
    """Memory for the results of one output: that of a result that nobody holds any more is used again.

    New memory would cost as much as the kernel: 4 MB have 1,000 pages, each 0.25 us to its first touch.
    """

    def __init__(self, t: TensorType) -> None:
        self._type, self._most = t, 2 if t.nbytes <= _LARGE_BYTES else 1
        #: Memory as objects that arrays refer to, and views of arrays through these; and where each begins.
        self._held: list[Any] = []
        self._addresses: list[int] = []

    def take(self) -> tuple[Value, int]:
        """An array of undefined content, whose memory nobody else uses as long as it, or a view of it, lives; its address."""
        for memory, address, references in zip(self._held, self._addresses, _references(self._held), strict=True):
            if references == _UNUSED:
                return np.ndarray(self._type.dims, self._type.dtype, memory), address
        buffer = HOST.allocate(self._type.nbytes)
        memory, address = (_BYTE * buffer.nbytes).from_buffer(buffer), address_of(buffer)
        self._held = [memory, *self._held[: self._most - 1]]
        self._addresses = [address, *self._addresses[: self._most - 1]]
        return np.ndarray(self._type.dims, self._type.dtype, memory), address


class OpenStep:
    """A step that touches such tensors, as what runs it: bound to the addresses it was last pointed at."""

    __slots__ = ("_kept", "_numbers", "_run", "index", "ports", "step")

    def __init__(self, index: int, step: Step, ports: Sequence[Port], numbers: tuple[int, ...]) -> None:
        """numbers: of such tensors those that it touches, by ``ports``."""
        self.index, self.step, self.ports, self._numbers = index, step, ports, numbers
        self._kept: dict[tuple[int, ...], Run] = {}
        self._run: Run | None = None

    def point(self, addresses: Sequence[int], bind: Callable[[OpenStep, Sequence[int]], Run]) -> None:
        """Where such tensors are in the next call."""
        key = tuple([addresses[number] for number in self._numbers])
        run = self._kept.get(key)
        if run is None:
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            run = self._kept[key] = bind(self, addresses)
        self._run = run

    def __call__(self) -> None:
        assert self._run is not None
        self._run()
