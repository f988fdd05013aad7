"""Concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..contracts.concat import CONCAT, ConcatParams
from ..host.support import numpy_kernel
from ..tensor import Array

__all__ = ["KERNELS"]


def _concat(inputs: Sequence[Array], outputs: Sequence[Array], params: ConcatParams) -> None:
    np.concatenate(inputs, axis=params.axis, out=outputs[0])


KERNELS = (numpy_kernel(CONCAT, "numpy", _concat, bfloat16=True),)
