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
    (
    blocks,
    boxes,
    einsum,
    
    colours,
    elementwise,
     finding, 
    image,
    indexing,
    
    layout,
    normalization,
     matrices, quantization,
    
    reduce,
    resample,
    strings,
    volumes,
    windows,
)

__all__ = ["DEVICE", "KERNELS", "probe"]

KERNELS: tuple[Kernel, ...] = (
    *elementwise.KERNELS,
    *reduce.KERNELS,
    *layout.KERNELS,
    *blocks.KERNELS,
    *boxes.KERNELS,
    *colours.KERNELS,
    *resample.KERNELS,
    *normalization.KERNELS,
    *volumes.KERNELS,
    *windows.KERNELS,
    *strings.KERNELS,
    *einsum.KERNELS,
    *indexing.KERNELS,
    *arrange.KERNELS,
    *quantization.KERNELS,
    *finding.KERNELS,
    *matrices.KERNELS,
    *image.KERNELS,
)

DEVICE: Device = HOST


def probe() -> Status:
    """Always available; what needs Pillow or simplejpeg says so when it runs."""
    return Status(True, f"NumPy {np.__version__}")
