"""Einstein's summation: sums of products over named axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from math import prod

from ..errors import ShapeError
from ..records import dataclass
from ..tensor import Dim, Params, TensorType
from .base import (
    MOST_AXES,
    NUMBERS,
    Contract,
    Tolerance,
    broadcast_dim,
    require_dtype,
    require_same_dtype,
    shape_text,
)

__all__ = ["EINSUM", "EinsumParams"]


@dataclass(frozen=True)
class EinsumParams(Params):
    """``equation``: 'ab,bc->ac'. Letters name axes; '...' stands for axes without a name, which broadcast.

    Without '->' the result has the axes without a name and then, in alphabetical order, the letters that occur once.
    """

    equation: str

    @cached_property
    def terms(self) -> tuple[tuple[str, ...], str]:
        """The letters of every input, and those of the result; '.' stands for '...'. ShapeError if it cannot be read."""
        text = self.equation.replace(" ", "").replace("...", ".")
        left, arrow, right = text.partition("->")
        inputs = tuple(left.split(","))
        if not arrow:
            letters = left.replace(",", "").replace(".", "")
            right = ("." if "." in left else "") + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
        for term in (*inputs, right):
            if len(term) > MOST_AXES or any(not (c == "." or (c.isascii() and c.isalpha())) for c in term):
                raise ShapeError(f"einsum: {_cut(self.equation)} must have letters, commas, one '->' and '...'")
            if term.count(".") > 1:
                raise ShapeError(f"einsum: {_cut(self.equation)} has '...' twice in one term")
        if len(set(right)) != len(right) or not set(right) <= set("".join(inputs)) | {"."}:
            raise ShapeError(f"einsum: the result of {_cut(self.equation)} must name axes of the inputs, each once")
        return inputs, right


def _cut(equation: str) -> str:
    return repr(equation if len(equation) <= 100 else equation[:97] + "...")


def _sizes(inputs: Sequence[TensorType], params: EinsumParams) -> tuple[dict[str, Dim], tuple[Dim, ...] | None]:
    """The size of every letter, and of the axes under '...' (None: an input's rank is not known)."""
    terms, _ = params.terms
    if len(terms) != len(inputs):
        raise ShapeError(f"einsum: {_cut(params.equation)} is for {len(terms)} inputs, got {len(inputs)}")
    sizes: dict[str, Dim] = {}
    rest: tuple[Dim, ...] = ()
    known = True
    for term, t in zip(terms, inputs, strict=True):
        where = f"{_cut(params.equation)} and {shape_text(t.shape)}"
        if t.shape is None:
            known = False
            continue
        head, dots, tail = term.partition(".")
        extra = len(t.shape) - len(head) - len(tail)
        if extra < 0 or (extra and not dots):
            raise ShapeError(f"einsum: {_cut(params.equation)}: {term!r} does not fit {t}")
        for letter, d in zip(head + tail, (*t.shape[: len(head)], *t.shape[len(t.shape) - len(tail) :]), strict=True):
            old = sizes.get(letter)
            if old is not None and d is not None and old != d:
                raise ShapeError(f"einsum: axis {letter!r} has size {old} and {d}, in {where}")
            sizes[letter] = d if old is None else old
        own = t.shape[len(head) : len(head) + extra]
        width = max(len(own), len(rest))
        pairs = zip((1,) * (width - len(own)) + own, (1,) * (width - len(rest)) + rest, strict=True)
        rest = tuple(broadcast_dim("einsum", a, b, partial(str, where)) for a, b in pairs)
    return sizes, rest if known else None


def _infer(inputs: Sequence[TensorType], params: EinsumParams) -> tuple[TensorType, ...]:
    dtype = require_same_dtype("einsum", inputs)
    require_dtype("einsum", "the inputs", dtype, NUMBERS)
    sizes, rest = _sizes(inputs, params)
    result = params.terms[1]
    if "." not in result:
        if rest:
            raise ShapeError(f"einsum: {_cut(params.equation)}: '...' is missing in the result")
        return (TensorType(dtype, tuple(sizes.get(c) for c in result)),)
    if rest is None:
        return (TensorType(dtype),)
    head, _, tail = result.partition(".")
    return (TensorType(dtype, (*(sizes.get(c) for c in head), *rest, *(sizes.get(c) for c in tail))),)


def _flops(inputs: Sequence[TensorType], outputs: Sequence[TensorType], params: EinsumParams) -> int:
    sizes, rest = _sizes(inputs, params)
    return 2 * prod(d or 0 for d in (*sizes.values(), *(rest or ())))


EINSUM: Contract[EinsumParams] = Contract(
    "einsum",
    "y = the product of the inputs, summed over the axes whose letters the result lacks.",
    _infer,
    EinsumParams,
    arity=(1, None),
    flops=_flops,
    tolerance=Tolerance(2e-6, 1e-6, scale_by_reduction=True),
    hot=False,
)
