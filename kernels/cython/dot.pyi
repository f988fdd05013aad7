from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Array, TensorType

_Out = tuple[TensorType, TensorType | None, TensorType | None, TensorType, float, float, int]

def most_products() -> int: ...

class DotRun:
    def __call__(self) -> None: ...

class Dot:
    workspace_bytes: int
    layout: str
    def __init__(
        self,
        x: TensorType,
        *,
        axes: Sequence[tuple[int, int, int, int, int, int]],
        batch: int,
        channels: int,
        outs: Sequence[_Out],
        x_zero: int = 0,
        steps: tuple[int, int],
        threads: int = 1,
        isa: str | None = None,
        split: bool = False,
        by_taps: bool | None = None,
    ) -> None: ...
    def packed_bytes(self, index: int = 0) -> int: ...
    def pack(self, w: np.ndarray[Any, Any], index: int = 0) -> np.ndarray[Any, Any]: ...
    def bind(
        self,
        x: Array,
        packed: Sequence[np.ndarray[Any, Any]],
        biases: Sequence[Array | None],
        multipliers: Sequence[Array | None],
        ys: Sequence[Array],
        workspace: Array | None,
    ) -> DotRun: ...
