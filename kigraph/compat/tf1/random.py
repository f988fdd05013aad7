"""Random numbers under TensorFlow 1's names: TensorFlow's own numbers where an operation's seed is given.

As in TensorFlow the two seeds of an operation follow from the graph's seed and its own. If the graph has one only, the
second is the number of operations that took theirs from the graph's before (TensorFlow 2's compat.v1; 1.x counted all
operations), so the numbers are TensorFlow's where the random operations are made in the same order.
"""

from __future__ import annotations

from typing import Any

from .array import shape
from .building import convert, is_tensor
from .dtypes import as_dtype, numpy_dtype
from .graph import Tensor, get_default_graph
from .math import FUNCTIONS
from .parts import gather, top_k

__all__ = [
    "get_seed", "random_normal", "random_shuffle", "random_uniform", "set_random_seed", "truncated_normal",
]  # fmt: skip

_GRAPH_SEED = 87654321
_LARGEST = 2**31 - 1


def set_random_seed(seed: int) -> None:
    """The seed of the default graph."""
    get_default_graph().seed = int(seed)


def get_seed(op_seed: int | None) -> tuple[int, int]:
    """The two seeds of an operation; (0, 0) where it is to differ from run to run."""
    graph = get_default_graph()
    if graph.seed is None and op_seed is None:
        return 0, 0
    seeds = (
        _GRAPH_SEED if graph.seed is None else graph.seed,
        graph.next_seed() if op_seed is None else int(op_seed),
    )
    first, second = (s % 2**31 if s > _LARGEST else s for s in seeds)
    return (0, _LARGEST) if (first, second) == (0, 0) else (first, second)


def _drawn(type: str, shape: Tensor, dtype: Any, seed: int | None) -> Tensor:
    first, second = get_seed(seed)
    attrs = {"dtype": numpy_dtype(dtype), "seed": first, "seed2": second}
    return get_default_graph().create(type, [shape], attrs, type).outputs[0]


def _sizes(shape: Any) -> Tensor:
    return convert(shape, None if is_tensor(shape) else "int32", "shape")


def _normal(type: str, default: str) -> Any:
    def function(
        shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", seed: int | None = None, name: str | None = None,
    ) -> Tensor:  # fmt: skip
        with get_default_graph().name_scope(name or default) as scope:
            sizes = _sizes(shape)
            middle, width = convert(mean, dtype, "mean"), convert(stddev, dtype, "stddev")
            drawn = _drawn(type, sizes, dtype, seed)
            return FUNCTIONS["add"](FUNCTIONS["multiply"](drawn, width, name="mul"), middle, name=scope)

    function.__doc__ = f"{type}: mean + stddev * numbers of the standard distribution."
    return function


random_normal = _normal("RandomStandardNormal", "random_normal")
truncated_normal = _normal("TruncatedNormal", "truncated_normal")


def random_uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32", seed: int | None = None, name: str | None = None,
) -> Tensor:  # fmt: skip
    """Numbers from minval to below maxval, which integers must be given."""
    kind = as_dtype(dtype)
    if maxval is None:
        if kind.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {kind!r}")
        maxval = 1
    f = FUNCTIONS
    with get_default_graph().name_scope(name or "random_uniform") as scope:
        sizes = _sizes(shape)
        low, high = convert(minval, dtype, "min"), convert(maxval, dtype, "max")
        if kind.is_integer:
            first, second = get_seed(seed)
            attrs = {"seed": first, "seed2": second}
            return get_default_graph().create("RandomUniformInt", [sizes, low, high], attrs, scope).outputs[0]
        drawn = _drawn("RandomUniform", sizes, dtype, seed)
        width = f["subtract"](high, low, name="sub")
        return f["add"](f["multiply"](drawn, width, name="mul"), low, name=scope)


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The rows in a random order. A seed is refused: the order would not be TensorFlow's."""
    if seed is not None:
        raise ValueError(
            "random_shuffle: with a seed the order would not be TensorFlow's; leave it out, or shuffle the data with NumPy"
        )
    with get_default_graph().name_scope(name or "RandomShuffle"):
        value = convert(value)
        count = shape(value)[0:1]
        order = top_k(_drawn("RandomUniform", count, "float32", None), count[0]).indices
        return gather(value, order)
