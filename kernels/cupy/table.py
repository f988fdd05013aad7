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
from .launch import Build

__all__ = ["BUILDS", "KERNELS"]

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


#: All kernels of the backend.
KERNELS: tuple[Kernel, ...] = (
    *conv2d.KERNELS,
    *depthwise.KERNELS,
    *matmul.KERNELS,
    *pool2d.KERNELS,
    *normalization.KERNELS,
    *elementwise.KERNELS,
    *softmax.KERNELS,
    *reduce.KERNELS,
    *concat.KERNELS,
    *resize.KERNELS,
    *layout.KERNELS,
)
