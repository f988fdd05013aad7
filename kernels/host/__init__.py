"""The shared CPU family: every contract outside the hot set, in NumPy, Pillow and simplejpeg.

It cannot be chosen as a backend: it serves whatever backend was chosen. elementwise.py, reduce.py, layout.py, strings.py,
einsum.py, indexing.py, arrange.py, quantization.py, finding.py and matrices.py, blocks.py, boxes.py, colours.py, normalization.py, volumes.py, windows.py, resample.py (with resample_taps.py) mirror the contract files; image.py and image_*.py have the encoded images, jpeg_recovery.py truncated ones;
support.py is shared with the numpy backend.
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
