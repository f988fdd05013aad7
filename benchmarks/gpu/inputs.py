"""The images that every part feeds: random, never zeros, since clocks and power depend on the data."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["images"]

NDArray = np.ndarray[Any, Any]


def images(batch: int, seed: int = 0) -> NDArray:
    """``batch`` images, float32 (batch, 299, 299, 3) in [-1, 1]; a smaller batch is the beginning of a larger one."""
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 299, 299, 3)).astype(np.float32)
