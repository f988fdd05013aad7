"""The reference backend: plain NumPy, every hot contract, every element type. It defines the truth.

One file per contract file, with the same basename. float16 is computed in float32. The kernels take any strides and
make their own temporaries (bounded, but not from the plan's arena); BLAS chooses its own number of threads.
What is not in the hot set comes from the shared CPU family, kernels/host.
"""

from __future__ import annotations

import numpy as np

from ..backends import Status
from ..composites import finishing
from ..devices import HOST, Device
from ..host import chains
from ..kernel import Kernel
from . import concat, conv2d, elementwise, gradients, matmul, normalization, pool2d, reduce, resize, softmax

__all__ = ["DEVICE", "KERNELS", "PRECISIONS", "ROUNDS", "probe"]

PRECISIONS = ("fp32", "bf16", "int8")
#: bf16 by operands that are rounded (kernels/rounded.py): this defines its numbers.
ROUNDS = True

_OWN: tuple[Kernel, ...] = (
    *matmul.KERNELS,
    *conv2d.KERNELS,
    *pool2d.KERNELS,
    *normalization.KERNELS,
    *elementwise.KERNELS,
    *softmax.KERNELS,
    *reduce.KERNELS,
    *concat.KERNELS,
    *resize.KERNELS,
    *gradients.KERNELS,
)

KERNELS: tuple[Kernel, ...] = finishing(_OWN, chains.KERNELS[0])

DEVICE: Device = HOST


def probe() -> Status:
    """Always available: NumPy is kigraph's one hard dependency."""
    return Status(True, f"NumPy {np.__version__}")
