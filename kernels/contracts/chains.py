"""Chains of elementwise ops that run as one: by themselves, or on what a convolution or matrix product has just computed.

A chain is a text, one step after the other: ``sigmoid(x);mul(x,t0)`` is x * sigmoid(x). A step is an op of UNARY or BINARY with
values in brackets: ``x``, the chain's input; ``t0``, what step 0 gave; ``a0``, the first further input (an operand); or a number.
The last step gives the result. Every step rounds as the op by itself does, so numbers have the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Params, Shape, TensorType
from .base import FLOATS, Contract, Tolerance, require_dtype, require_same_dtype, shape_text

__all__ = [
    "BINARY_STEPS", "CHAIN", "MOST_OPERANDS", "MOST_REGISTERS", "MOST_STEPS", "UNARY_STEPS", "ChainParams", "Reach", "Step",
    "chain_items", "check_chain", "last_uses", "operands_of", "parse_chain", "reach_of", "registers_of",
]  # fmt: skip

#: Ops that a step may be, by the names of their contracts.
UNARY_STEPS = frozenset([
    "neg", "abs", "square", "floor", "ceil", "relu", "relu6", "sqrt", "rsqrt", "reciprocal", "exp", "log", "sigmoid", "tanh", "elu",
    "selu", "softsign", "erf", "erfc",
])  # fmt: skip
BINARY_STEPS = frozenset(["add", "sub", "mul", "div", "maximum", "minimum", "squared_difference", "leaky_relu"])
#: What a chain may have: steps, operands, and results of steps that are needed later at any one time.
MOST_STEPS, MOST_OPERANDS, MOST_REGISTERS = 16, 8, 4

_VALUE = re.compile(r"x|[at](?:0|[1-9][0-9]?)", re.ASCII)
_STEP = re.compile(r"([a-z0-9_]+)\(([^(),;]+)(?:,([^(),;]+))?\)")


class Step(NamedTuple):
    """``values``: 'x', 'a0', 't0', or a number."""

    op: str
    values: tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class ChainParams(Params):
    """``steps``: the chain's text."""

    steps: str = ""

    def __post_init__(self) -> None:
        parse_chain(self.steps)


class Reach(NamedTuple):
    """Whether an operand has a value of its own for each image (axis 0), for each pixel of an image, for each channel (last axis)."""

    images: bool
    pixels: bool
    channels: bool


@lru_cache(maxsize=4096)
def parse_chain(text: str) -> tuple[Step, ...]:
    """The steps of a chain. Raises ShapeError for a text that is no chain, or one beyond the limits."""
    steps: list[Step] = []
    for part in text.split(";"):
        found = _STEP.fullmatch(part)
        if found is None:
            raise ShapeError(f"chain {text!r}: {part!r} is no step; expected one such as mul(x,t0)")
        op, *values = (g for g in found.groups() if g is not None)
        if op not in (UNARY_STEPS if len(values) == 1 else BINARY_STEPS):
            raise ShapeError(f"chain {text!r}: no step {op!r} of {len(values)} value{'s' if len(values) > 1 else ''}")
        steps.append(Step(op, tuple(_value(text, v, len(steps)) for v in values)))
        if not any(v == "x" or (isinstance(v, str) and v[0] == "t") for v in steps[-1].values):
            raise ShapeError(f"chain {text!r}: {part!r} reads neither x nor an earlier result")
    made = tuple(steps)
    if len(made) > MOST_STEPS or operands_of(made) > MOST_OPERANDS or registers_of(made) > MOST_REGISTERS:
        raise ShapeError(
            f"chain {text!r}: at most {MOST_STEPS} steps, {MOST_OPERANDS} operands and {MOST_REGISTERS} results at a time"
        )
    return made


def _value(text: str, token: str, number: int) -> str | float:
    if _VALUE.fullmatch(token):
        if token[0] == "t" and int(token[1:]) >= number:
            raise ShapeError(f"chain {text!r}: {token} is used before it is made")
        return token
    try:
        return float(token)
    except ValueError:
        raise ShapeError(f"chain {text!r}: {token!r} is no value; expected x, a0, t0 or a number") from None


def operands_of(steps: Sequence[Step]) -> int:
    """How many operands the steps read: the largest number of one, plus one."""
    return max((int(v[1:]) + 1 for s in steps for v in s.values if isinstance(v, str) and v[0] == "a"), default=0)


def last_uses(steps: Sequence[Step]) -> dict[str, int]:
    """By value: the number of the last step that reads it."""
    return {v: number for number, step in enumerate(steps) for v in step.values if isinstance(v, str)}


def registers_of(steps: Sequence[Step]) -> int:
    """The most results that are kept at any one time: for later steps, and that of each step but the last, read or not."""
    last = last_uses(steps)
    kept = (sum(last.get(f"t{i}", -1) > number for i in range(number)) + 1 for number in range(len(steps) - 1))
    return max(kept, default=0)


def reach_of(shape: Shape, whole: Shape) -> Reach | None:
    """How an operand broadcasts to a tensor of shape ``whole``, both known; None where it does not, or in another way.

    Axes: images, then pixels (all axes between), then channels. An operand has all pixel axes, or one value for all pixels.
    """
    assert shape is not None
    assert whole is not None
    if len(shape) > len(whole):
        return None
    padded = (1,) * (len(whole) - len(shape)) + shape
    if any(a not in (1, b) for a, b in zip(padded, whole, strict=True)):
        return None
    inner, all_pixels = padded[1:-1], whole[1:-1]
    if inner != all_pixels and any(n != 1 for n in inner):
        return None
    pixels = inner == all_pixels and any(n != 1 for n in inner)
    channels = bool(whole) and padded[-1] != 1
    images = len(whole) > 1 and padded[0] != 1
    return Reach(images, pixels, channels)


def check_chain(op: str, steps: str, output: TensorType, operands: Sequence[TensorType]) -> None:
    """Raises ShapeError or DTypeError unless the operands fit a chain on ``output``."""
    wanted = operands_of(parse_chain(steps)) if steps else 0
    if len(operands) != wanted:
        raise ShapeError(f"{op}: the chain {steps!r} has {wanted} operands, got {len(operands)}")
    if steps:
        require_dtype(op, "the input of a chain", output.dtype, FLOATS)
        require_same_dtype(op, [output, *operands])
    for number, operand in enumerate(operands):
        if operand.known and output.known and reach_of(operand.shape, output.shape) is None:
            raise ShapeError(
                f"{op}: operand {number} has shape {shape_text(operand.shape)}, which does not fit {shape_text(output.shape)}: "
                "expected a value, or one for each image, for each pixel or for each channel, or several of these"
            )


def _infer(inputs: Sequence[TensorType], params: ChainParams) -> tuple[TensorType, ...]:
    x, *operands = inputs
    check_chain("chain", params.steps, x, operands)
    return (x,)


def chain_items(output: TensorType, operands: Sequence[TensorType], first: int) -> set[int]:
    """Which operands, numbered from ``first``, have a value of their own for each item of axis 0 of more than one."""
    whole = output.dims
    return {
        number
        for number, t in enumerate(operands, first)
        if len(t.dims) == len(whole) and len(whole) > 0 and t.dims[0] == whole[0] != 1
    }


def _by_item(inputs: Sequence[TensorType], params: ChainParams, items: Collection[int]) -> bool:
    return len(inputs[0].dims) > 0 and set(items) == {0} | chain_items(inputs[0], inputs[1:], 1)


CHAIN: Contract[ChainParams] = Contract(
    "chain",
    """y = the last step of a chain of elementwise ops on x, with operands a0, a1, ...

    x and y have one shape; an operand is one value, or has one for each image (axis 0), for each pixel (all axes between), for
    each channel (the last axis), or for several of these, all with x's dtype. Each step is the op of its name, rounded to x's
    dtype, so y has the bits of the ops one after the other; numbers in the text are rounded to that dtype. NaN, infinities and
    zeros as each op says. The tolerance is for steps that magnify no error of an earlier one.""",
    _infer,
    ChainParams,
    arity=(1, 1 + MOST_OPERANDS),
    flops=lambda inputs, outputs, params: len(parse_chain(params.steps)) * outputs[0].size,
    tolerance=Tolerance(1e-5, 1e-6),
    hot=False,
    inplace=True,
    by_item=_by_item,
)
