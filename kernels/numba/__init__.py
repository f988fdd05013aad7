"""The numba backend: loops compiled by Numba."""

from __future__ import annotations

from ..backends import Status
from ..devices import HOST, Device
from ..types import Kernel
from . import conv2d
from .jit import VERSION
from .targets import current

__all__ = ["DEVICE", "KERNELS", "probe"]

KERNELS: tuple[Kernel, ...] = (*conv2d.KERNELS,)

DEVICE: Device = HOST


def probe() -> Status:
    return Status(True, f"Numba {VERSION}, {current().name}")
