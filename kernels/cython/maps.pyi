from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import TensorType

UNARY: dict[str, int]
BINARY: dict[str, int]
MAX_RANK: int

class MapRun:
    def __call__(self) -> None: ...

def dtypes_of(op: str) -> tuple[str, ...]: ...
def bind_map(
    op: str,
    inputs: Sequence[np.ndarray[Any, Any]],
    input_types: Sequence[TensorType],
    output: np.ndarray[Any, Any],
    output_type: TensorType,
    *,
    threads: int = 1,
    pitched: bool = False,
) -> MapRun: ...
