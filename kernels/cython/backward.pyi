from typing import Any, Literal

import numpy as np

from ..tensor import TensorType

Kind = Literal["max_pool", "average_pool", "filter", "depthwise_input", "depthwise_filter"]
NDArray = np.ndarray[Any, Any]

class BackwardRun:
    def __call__(self) -> None: ...

class RotateRun:
    def __call__(self) -> None: ...

class Backward:
    workspace_bytes: int
    def __init__(
        self,
        kind: Kind,
        x: TensorType,
        y: TensorType,
        w: TensorType | None = None,
        *,
        window: tuple[int, int],
        strides: tuple[int, int],
        before: tuple[int, int],
        dilations: tuple[int, int] = (1, 1),
        count_padding: bool = False,
        block: tuple[int, int] = (1, 1),
        parts: int = 1,
        slices: int = 1,
        tile: tuple[int, int] = (1, 1),
        merges: bool = False,
        threads: int = 1,
    ) -> None: ...
    def bind(
        self,
        *,
        dy: NDArray,
        x: NDArray | None = None,
        y: NDArray | None = None,
        w: NDArray | None = None,
        dx: NDArray | None = None,
        dw: NDArray | None = None,
        workspace: NDArray | None = None,
    ) -> BackwardRun: ...

def dtypes_of(kind: Kind) -> tuple[str, ...]: ...
def bind_rotate(
    w: NDArray,
    w_type: TensorType,
    packed: NDArray,
    *,
    first: int,
    taps: tuple[int, int],
    steps: tuple[int, int],
    vectors: int,
    zeros: int,
    threads: int = 1,
) -> RotateRun: ...
