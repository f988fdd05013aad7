"""1x1 convolutions of one tensor side by side: one op with several outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Params, TensorType
from .base import Contract, Tolerance, items_of_first, require_rank, stored_dtype
from .conv2d import CONV2D, Conv2DParams
from .matmul import Activation

__all__ = ["SIBLING_CONV2D", "Place", "Sibling", "SiblingParams", "places"]


class Sibling(NamedTuple):
    """One of the convolutions: whether it has a bias, and what is applied to its result."""

    bias: bool = False
    activation: Activation = "none"


@dataclass(frozen=True, slots=True)
class SiblingParams(Params):
    """The convolutions in the order of the outputs. ``narrow``: all results are bfloat16 in memory."""

    siblings: tuple[Sibling, ...]
    narrow: bool = False

    def __post_init__(self) -> None:
        if not self.siblings:
            raise ShapeError("sibling_conv2d needs at least one convolution")


class Place(NamedTuple):
    """Which inputs of the op a sibling has (x, weights and perhaps bias), and the parameters of its convolution."""

    inputs: tuple[int, ...]
    params: Conv2DParams


def places(params: SiblingParams) -> Iterator[Place]:
    """The siblings as plain convolutions."""
    at = 1
    for bias, activation in params.siblings:
        yield Place(
            (0, *range(at, at + 1 + bias)), Conv2DParams(padding="SAME", activation=activation, narrow=params.narrow)
        )
        at += 1 + bias


def _infer(inputs: Sequence[TensorType], params: SiblingParams) -> tuple[TensorType, ...]:
    found = tuple(places(params))
    count = found[-1].inputs[-1] + 1
    if len(inputs) != count:
        raise ShapeError(f"sibling_conv2d: these {len(found)} convolutions take {count} inputs, got {len(inputs)}")
    stored_dtype("sibling_conv2d", inputs[:1])
    outputs: list[TensorType] = []
    for place in found:
        window = require_rank("sibling_conv2d", "a filter (1, 1, in, out)", inputs[place.inputs[1]].shape, 4)[:2]
        if any(size not in (1, None) for size in window):
            raise ShapeError(f"sibling_conv2d: filters are 1x1, got {window[0]}x{window[1]}")
        outputs += CONV2D.infer([inputs[i] for i in place.inputs], place.params)
    return tuple(outputs)


def _flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: SiblingParams) -> int:
    return sum(2 * y.size for y in outputs) * inputs[0].dims[3]


SIBLING_CONV2D: Contract[SiblingParams] = Contract(
    "sibling_conv2d",
    """y_s[n, i, j, o] = activation_s(bias_s[o] + sum over c of x[n, i, j, c] * w_s[0, 0, c, o]) for each sibling s.

    Inputs: x NHWC, then for every sibling w (1, 1, in, out) and, if it has one, bias (out,). Outputs: one per sibling, NHWC.
    Each is what conv2d gives with stride 1; padding never matters; bfloat16 as in conv2d. The point is that x is read once for all.""",
    _infer,
    SiblingParams,
    arity=(2, None),
    flops=_flops,
    tolerance=Tolerance(1e-6, 2e-6, scale_by_reduction=True),
    by_item=items_of_first,
)
