from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..tensor import TensorType

Kind = Literal["max", "average", "depthwise"]

class WindowRun:
    def __call__(self) -> None: ...

class Window:
    def __init__(
        self,
        kind: Kind,
        inputs: Sequence[TensorType],
        output: TensorType,
        *,
        window: tuple[int, int],
        strides: tuple[int, int],
        before: tuple[int, int],
        dilations: tuple[int, int] = (1, 1),
        count_padding: bool = False,
        limits: tuple[float, float] = ...,
        threads: int = 1,
    ) -> None: ...
    def bind(self, inputs: Sequence[np.ndarray[Any, Any]], output: np.ndarray[Any, Any]) -> WindowRun: ...

def dtypes_of(kind: Kind) -> tuple[str, ...]: ...

MEAN_CELLS: int

class QuantizedRun:
    def __call__(self) -> None: ...

class QuantizedWindow:
    def __init__(
        self,
        kind: Literal["average", "depthwise"],
        inputs: Sequence[TensorType],
        output: TensorType,
        *,
        window: tuple[int, int],
        strides: tuple[int, int],
        before: tuple[int, int],
        dilations: tuple[int, int] = (1, 1),
        count_padding: bool = False,
        multiplier: float = 1.0,
        word_scales: np.ndarray[Any, Any] | None = None,
        scales: np.ndarray[Any, Any] | None = None,
        x_zero: int = 0,
        y_zero: int = 0,
        low: int = 0,
        high: int = 0,
        halves: Literal["even", "away", "up"] = "even",
        threads: int = 1,
    ) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    def bind(
        self,
        inputs: Sequence[np.ndarray[Any, Any]],
        output: np.ndarray[Any, Any],
        workspace: np.ndarray[Any, Any] | None = None,
    ) -> QuantizedRun: ...
