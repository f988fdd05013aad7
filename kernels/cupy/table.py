"""The list of kernel modules, and of everything that they compile."""

from __future__ import annotations

from collections.abc import Callable

from ..types import Kernel
from . import (
    concat,
    conv2d,
    depthwise,
    elementwise,
    layout,
    matmul,
    normalization,
    pool2d,
    reduce,
    resize,
    softmax,
)
from .launch import Build, Launcher

__all__ = ["BUILDS", "kernel_table"]

#: Every build with the names of its kernels.
BUILDS: tuple[tuple[Build, tuple[str, ...]], ...] = (
    *conv2d.BUILDS,
    *depthwise.BUILDS,
    *matmul.BUILDS,
    *pool2d.BUILDS,
    *normalization.BUILDS,
    *elementwise.BUILDS,
    *softmax.BUILDS,
    *reduce.BUILDS,
    *resize.BUILDS,
    *layout.BUILDS,
)


def kernel_table(launcher: Launcher, precision: Callable[[], str]) -> tuple[Kernel, ...]:
    """All kernels of the backend, to run on that launcher; ``precision`` is asked whenever a plan is made."""
    return (
        *conv2d.kernels(launcher, precision),
        *depthwise.kernels(launcher, precision),
        *matmul.kernels(launcher, precision),
        *pool2d.kernels(launcher, precision),
        *normalization.kernels(launcher, precision),
        *elementwise.kernels(launcher, precision),
        *softmax.kernels(launcher, precision),
        *reduce.kernels(launcher, precision),
        *concat.kernels(launcher, precision),
        *resize.kernels(launcher, precision),
        *layout.kernels(launcher, precision),
    )
