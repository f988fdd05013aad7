"""One case bound to arrays of a device, to be run as often as wanted: for checks of one's own, and for timing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..devices import Device
from ..kernel import Kernel, Run
from ..tensor import Array, TensorType
from .case import Case, Memory
from .check import FixedConstants
from .memory import place

__all__ = ["Bound", "bind_case"]

NDArray = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """``run()`` computes ``outputs``; ``device.download(outputs[i])`` reads them."""

    run: Run
    outputs: tuple[Array, ...]
    device: Device

    def results(self) -> list[NDArray]:
        """Runs once, and reads the outputs."""
        self.run()
        return [self.device.download(output) for output in self.outputs]


def bind_case(kernel: Kernel, case: Case, values: Sequence[NDArray], device: Device) -> Bound:
    """The kernel prepared for the case and bound to new arrays, in the kinds of memory that the case names.

    ``values``: one array per input. Each array is an allocation of its own.
    """
    query = case.query()
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({i: values[i] for i in query.constants}))

    def new(t: TensorType, memory: Memory) -> Array:
        offset, strides, end = place(t, memory)
        return device.view(device.allocate(end), offset, t.dtype, t.dims, strides)

    inputs: list[Array | None] = []
    for number, (spec, value) in enumerate(zip(case.inputs, values, strict=True)):
        if number in prepared.absorbed:
            inputs.append(None)
            continue
        array = new(spec.type, spec.memory)
        device.upload(value, array)
        inputs.append(array)
    outputs = tuple(new(t, case.memory) for t in query.outputs)
    workspace = device.allocate(prepared.workspace_bytes) if prepared.workspace_bytes else None
    return Bound(prepared.bind(inputs, list(outputs), workspace), outputs, device)
