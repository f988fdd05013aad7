"""Splits along the last axis that cost nothing: their outputs are slices of their input's buffer.

A grouped convolution reads its channels from the whole image so, as a concat's inputs are written into its output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from math import prod

from ...kernels.contracts.layout import SPLIT
from ...kernels.tensor import STRING
from ..ir import Port
from .lowering import Lowering, Step
from .readers import Readers

__all__ = ["split_slices"]

#: Root -> (root in whose buffer it is, byte offset).
Slices = Mapping[Port, tuple[Port, int]]


def split_slices(lowering: Lowering, kept: Collection[Port], concats: Slices) -> dict[Port, tuple[Port, int]]:
    """The outputs that are slices of an input. kept: what is wanted of the stage. concats: slices that there are already.

    The steps that become free are marked.
    """
    readers = Readers()
    for step in lowering.steps:
        readers.add(step)
    viewed = set(lowering.views.values())
    slices: dict[Port, tuple[Port, int]] = {}
    for at, step in enumerate(lowering.steps):
        if not _divides_last_axis(lowering, step):
            continue
        whole, _ = step.inputs[0]
        outputs = [port for port, _ in step.outputs]
        if any(p in kept or p in viewed or p in concats or not _readable(lowering, readers, p) for p in outputs):
            continue
        owner, offset = slices.get(whole) or concats.get(whole) or (whole, 0)
        for port, t in step.outputs:
            slices[port] = (owner, offset)
            offset += t.dims[-1] * t.dtype.itemsize
        note = "free: its outputs are slices of its input"
        lowering.steps[at] = replace(step, inputs=[], query=None, kernel=None, prepared=None, note=note)
    return slices


def _divides_last_axis(lowering: Lowering, step: Step) -> bool:
    """Whether it is a split along the last axis, of and into tensors as the kernel sees them, on one device."""
    if step.query is None or step.query.contract is not SPLIT:
        return False
    (whole, t), parts = step.inputs[0], step.outputs
    home = lowering.home.get(whole)
    return (
        t.dtype != STRING
        and home is not None
        and home.name == step.device.name
        and all(lowering.types[port].shape == seen.shape for port, seen in ((whole, t), *parts))
        and all(seen.dims[:-1] == t.dims[:-1] for _, seen in parts)
    )


def _readable(lowering: Lowering, readers: Readers, port: Port) -> bool:
    """Whether all that reads a slice of a larger buffer can: it has a pitch, unless it is one row."""
    return readers.dense[port] == 0 or prod(lowering.types[port].dims[:-1]) == 1
