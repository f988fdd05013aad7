from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import TensorType

KINDS: dict[str, tuple[tuple[int, int], tuple[int, int]]]

class Run:
    def __call__(self) -> None: ...

class Winograd:
    workspace_bytes: int
    packed_bytes: int
    def __init__(
        self,
        kind: str,
        inputs: Sequence[TensorType],
        output: TensorType,
        *,
        points: Sequence[tuple[float, float, Sequence[float], Sequence[float]]],
        axes: Sequence[tuple[int, int, int, int, int]],
        batch: tuple[int, int, int],
        vectors: int,
        tiles: tuple[int, int],
        division: str,
        threads: int,
        rows: int = 0,
        limits: tuple[float, float] = ...,
    ) -> None: ...
    def bind(
        self,
        x: np.ndarray[Any, Any],
        packed: np.ndarray[Any, Any],
        bias: np.ndarray[Any, Any] | None,
        y: np.ndarray[Any, Any],
        workspace: np.ndarray[Any, Any] | None,
    ) -> Run: ...

def pack(
    w: np.ndarray[Any, Any],
    packed: np.ndarray[Any, Any],
    *,
    swap: bool,
    transforms: Sequence[np.ndarray[Any, Any]],
    vectors: int,
    largest: float,
    threads: int,
) -> bool: ...
