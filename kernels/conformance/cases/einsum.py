"""Cases of einsum: what networks write, and what the notation allows beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...contracts.base import NUMBERS
from ...contracts.einsum import EINSUM, EinsumParams
from ...tensor import DType
from ..case import F32, Case, tensor
from ..values import normal, sparse_nan

__all__ = ["CASES"]

NDArray = np.ndarray[Any, Any]
Shapes = tuple[tuple[int, ...], ...]

#: Equation, shapes of the inputs.
_EQUATIONS: tuple[tuple[str, Shapes], ...] = (
    ("ab,bc->ac", ((3, 5), (5, 4))),
    ("ab,bc", ((3, 5), (5, 4))),
    ("ba", ((3, 5),)),
    ("abc,cde->abde", ((2, 7, 6), (6, 3, 4))),
    ("aecd,abcd->acbe", ((2, 7, 3, 4), (2, 5, 3, 4))),
    ("acbe,aecd->abcd", ((2, 3, 5, 7), (2, 7, 3, 4))),
    ("abcd,cde->abe", ((2, 5, 3, 4), (3, 4, 6))),
    ("bij,bjk->bik", ((4, 3, 5), (4, 5, 2))),
    ("...ij,...jk->...ik", ((2, 1, 3, 5), (4, 5, 2))),
    ("i...,j...->ij...", ((3, 1, 5), (2, 4, 1))),
    ("...ij->...ji", ((2, 3, 4),)),
    ("ij->", ((3, 4),)),
    ("ii", ((4, 4),)),
    ("ii->i", ((4, 4),)),
    ("iij,jk->ik", ((3, 3, 4), (4, 2))),
    ("i,j->ij", ((3,), (4,))),
    ("i,i->", ((17,), (17,))),
    ("i,i->i", ((17,), (17,))),
    ("ij,j->ij", ((3, 4), (4,))),
    ("ijk,k->ij", ((2, 3, 33), (33,))),
    ("ab,cd->", ((2, 3), (4, 5))),
    ("ab,ac->bc", ((3, 2), (3, 4))),
    ("ab,bc,cd->ad", ((2, 3), (3, 4), (4, 5))),
    ("ab,ab,ab->a", ((2, 3), (2, 3), (2, 3))),
    (",ab->ab", ((), (2, 3))),
    ("->", ((),)),
    ("A b , bC -> A C", ((3, 5), (5, 4))),
    ("ab,bc->ac", ((3, 0), (0, 4))),
    ("ab,bc->ac", ((0, 3), (3, 4))),
)


def _loops(inputs: Sequence[NDArray], params: EinsumParams) -> list[NDArray]:
    """NumPy's own, in a wider type, which sums element by element."""
    kind = np.result_type(inputs[0].dtype, np.float64 if inputs[0].dtype.kind == "f" else inputs[0].dtype)
    wide = [x.astype(np.complex128 if x.dtype.kind == "c" else kind) for x in inputs]
    return [np.asarray(np.einsum(params.equation, *wide, optimize=False))]


def _case(name: str, equation: str, shapes: Shapes, dtype: DType = F32, values: Any = normal, **rest: Any) -> Case:
    inputs = (*(tensor(s, values, dtype) for s in shapes),)
    tags = frozenset(["empty"] if any(0 in s for s in shapes) else [])
    return Case(EINSUM, name, inputs, EinsumParams(equation), tags, oracle=None if rest else _loops, **rest)


def _all() -> Iterator[Case]:
    for number, (equation, shapes) in enumerate(_EQUATIONS):
        yield _case(f"{number}-{equation.replace(' ', '')}", equation, shapes)
    for dtype in sorted(NUMBERS, key=str):
        yield _case(str(dtype), "abc,cde->abde", ((2, 3, 4), (4, 2, 3)), dtype)
    yield _case("nan", "ab,bc->ac", ((7, 40), (40, 3)), values=sparse_nan)
    yield _case("million", "aecd,abcd->acbe", ((8, 128, 12, 64), (8, 128, 12, 64)), measure=True)


CASES = tuple(_all())
