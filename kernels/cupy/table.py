"""The list of kernel modules, and of everything that they compile."""

from __future__ import annotations

from ..kernel import Kernel
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


def kernel_table(launcher: Launcher) -> tuple[Kernel, ...]:
    """All kernels of the backend, to run on that launcher."""
    return (
        *conv2d.kernels(launcher),
        *depthwise.kernels(launcher),
        *matmul.kernels(launcher),
        *pool2d.kernels(launcher),
        *normalization.kernels(launcher),
        *elementwise.kernels(launcher),
        *softmax.kernels(launcher),
        *reduce.kernels(launcher),
        *concat.kernels(launcher),
        *resize.kernels(launcher),
        *layout.kernels(launcher),
    )
