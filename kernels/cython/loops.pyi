from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contracts.chains import Reach
from ..tensor import TensorType

Array = np.ndarray[Any, Any]
MAX_MAP_RANK: int
MAX_REDUCE_RANK: int
MAX_TRANSPOSE_RANK: int

class LoopRun:
    def __call__(self) -> None: ...

class ChainRun(LoopRun):
    address: int

def dtypes_of(name: str) -> tuple[str, ...]: ...
def fill_philox(
    op: str,
    y: Array,
    y_type: TensorType,
    key: int,
    counter: int,
    offsets: Array | None = None,
    offsets_type: TensorType | None = None,
) -> None: ...
def bind_softmax(
    x: Array, y: Array, tensor_type: TensorType, axis: int, *, logarithm: bool, threads: int = 1
) -> LoopRun: ...
def bind_reduce(
    op: str, x: Array, x_type: TensorType, y: Array, y_type: TensorType, axes: Sequence[int], *, threads: int = 1
) -> LoopRun: ...
def bind_batch_norm(
    inputs: Sequence[Array],
    types: Sequence[TensorType],
    y: Array,
    y_type: TensorType,
    workspace: Array | None,
    *,
    epsilon: float,
    threads: int = 1,
) -> LoopRun: ...
def statistics_scratch(rows: int, channels: int, itemsize: int) -> int: ...
def bind_batch_statistics(
    inputs: Sequence[Array],
    input_types: Sequence[TensorType],
    outputs: Sequence[Array],
    output_types: Sequence[TensorType],
    workspace: Array | None,
    *,
    gradient: bool,
    epsilon: float,
    factor: float = 1.0,
    threads: int = 1,
) -> LoopRun: ...
def lrn_scratch(channels: int, reach: int, threads: int) -> int: ...
def bind_lrn(
    inputs: Sequence[Array],
    types: Sequence[TensorType],
    out: Array,
    out_type: TensorType,
    workspace: Array | None,
    *,
    reach: int,
    bias: float,
    alpha: float,
    beta: float,
    threads: int = 1,
) -> LoopRun: ...
def bind_resize(
    x: Array,
    x_type: TensorType,
    y: Array,
    y_type: TensorType,
    cells: Sequence[tuple[Array, Array, Array]],
    cell_types: Sequence[tuple[TensorType, TensorType]],
    *,
    threads: int = 1,
) -> LoopRun: ...
def bind_int_matmul(
    inputs: Sequence[Array],
    types: Sequence[TensorType],
    y: Array,
    y_type: TensorType,
    *,
    sizes: tuple[int, int, int],
    a_steps: tuple[int, int],
    b_steps: tuple[int, int],
    offsets: Sequence[tuple[int, int, int]],
    clamp: int,
    threads: int = 1,
) -> LoopRun: ...
def bind_chain(
    inputs: Sequence[Array],
    input_types: Sequence[TensorType],
    output: Array,
    output_type: TensorType,
    *,
    steps: Sequence[tuple[str, int, int, int]],
    reaches: Sequence[Reach],
    numbers: Array,
    threads: int = 1,
) -> ChainRun: ...
def bind_concat(
    inputs: Sequence[Array], types: Sequence[TensorType], y: Array, y_type: TensorType, axis: int, *, threads: int = 1
) -> LoopRun: ...
def bind_map(
    op: str,
    inputs: Sequence[Array],
    input_types: Sequence[TensorType],
    output: Array,
    output_type: TensorType,
    *,
    threads: int = 1,
    pitched: bool = False,
    stored: bool = False,
) -> LoopRun: ...
def bind_transpose(
    x: Array, x_type: TensorType, y: Array, y_type: TensorType, axes: Sequence[int], *, threads: int = 1
) -> LoopRun: ...
def top_k_scratch(n: int, k: int, threads: int) -> int: ...
def bind_top_k(
    x: Array,
    x_type: TensorType,
    outputs: Sequence[Array],
    output_types: Sequence[TensorType],
    workspace: Array | None,
    *,
    threads: int = 1,
) -> LoopRun: ...
def bind_cumulative(
    x: Array,
    y: Array,
    tensor_type: TensorType,
    axis: int,
    *,
    product: bool,
    exclusive: bool,
    reverse: bool,
    threads: int = 1,
) -> LoopRun: ...
def bind_bf16_mean(x: Array, x_type: TensorType, y: Array, y_type: TensorType, *, threads: int = 1) -> LoopRun: ...
def channels_last(x: Array, y: Array, x_type: TensorType, y_type: TensorType) -> None: ...
def bind_cross_entropy(
    logits: Array,
    labels: Array,
    loss: Array,
    gradient: Array,
    types: Sequence[TensorType],
    *,
    threads: int = 1,
) -> LoopRun: ...
def resize_pixels(
    x: Array,
    cells: Sequence[tuple[Array, Array, Array]],
    mean: Array,
    deviation: Array,
    y: Array,
    *,
    mirrored: bool = False,
) -> None: ...
def bind_scaled_map(
    op: str,
    inputs: Sequence[Array],
    input_types: Sequence[TensorType],
    output: Array,
    output_type: TensorType,
    *,
    a_zero: int = 0,
    b_zero: int = 0,
    a_multiplier: float = 1.0,
    b_multiplier: float = 1.0,
    y_zero: int = 0,
    low: int = 0,
    high: int = 0,
    divide: bool = False,
    threads: int = 1,
) -> LoopRun: ...
