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
