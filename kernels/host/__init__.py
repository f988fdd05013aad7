"""The shared CPU family: every contract outside the hot set, in NumPy, Pillow and simplejpeg.

It cannot be chosen as a backend: it serves whatever backend was chosen. A file mirrors the contract file of its name;
image.py and image_*.py have the encoded images, jpeg_recovery.py truncated ones, resample_taps.py the weights of a
resizing; support.py and taps.py are shared with the numpy backend.
"""

from __future__ import annotations

import numpy as np

from ..backends import Status
from ..devices import HOST, Device
from ..kernel import Kernel
from . import (
    arrange,
    blocks,
    boxes,
    chains,
    colours,
    einsum,
    elementwise,
    finding,
    image,
    indexing,
    layout,
    matrices,
    normalization,
    quantization,
    quantized,
    reduce,
    resample,
    strings,
    volumes,
    windows,
)

__all__ = ["DEVICE", "KERNELS", "probe"]

KERNELS: tuple[Kernel, ...] = (
    *arrange.KERNELS,
    *blocks.KERNELS,
    *boxes.KERNELS,
    *chains.KERNELS,
    *colours.KERNELS,
    *einsum.KERNELS,
    *elementwise.KERNELS,
    *finding.KERNELS,
    *image.KERNELS,
    *indexing.KERNELS,
    *layout.KERNELS,
    *matrices.KERNELS,
    *normalization.KERNELS,
    *quantization.KERNELS,
    *quantized.KERNELS,
    *reduce.KERNELS,
    *resample.KERNELS,
    *strings.KERNELS,
    *volumes.KERNELS,
    *windows.KERNELS,
)

DEVICE: Device = HOST


def probe() -> Status:
    """Always available; what needs Pillow or simplejpeg says so when it runs."""
    return Status(True, f"NumPy {np.__version__}")
