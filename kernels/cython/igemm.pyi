from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..tensor import TensorType
from .loops import ChainRun

class Run:
    def __call__(self) -> None: ...

class SiblingRun:
    def __init__(self, runs: Sequence[Callable[[], None]]) -> None: ...
    def __call__(self) -> None: ...

class Igemm:
    workspace_bytes: int
    packed_bytes: int
    tile: tuple[int, int]
    def __init__(
        self,
        inputs: Sequence[TensorType],
        output: TensorType,
        *,
        axes: Sequence[tuple[int, int, int, int, int, int, int, int, int]],
        batch: tuple[int, int, int],
        k: int,
        tile: tuple[int, int],
        limits: tuple[float, float] = ...,
        steps: tuple[int, int],
        packs: bool = False,
        in_place: bool = False,
        kc: int | None = None,
        transposed_rows: int = 0,
        offsets: Sequence[tuple[int, int, int]] = ...,
        threads: int = 1,
        dense_x: bool = False,
    ) -> None: ...
    def pack(self, w: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]: ...
    def bind(
        self,
        x: np.ndarray[Any, Any],
        w: np.ndarray[Any, Any],
        bias: np.ndarray[Any, Any] | None,
        y: np.ndarray[Any, Any],
        workspace: np.ndarray[Any, Any] | None,
        chain: ChainRun | None = None,
    ) -> Run: ...
