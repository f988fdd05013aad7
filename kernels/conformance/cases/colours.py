"""Cases of colours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...contracts import colours as c
from ..case import F16, F32, F64, MEMORIES, Case, tensor
from ..values import positive

__all__ = ["CASES"]


def _cases() -> Iterator[Case]:
    for contract in (c.RGB_TO_HSV, c.HSV_TO_RGB, c.ADJUST_HUE, c.ADJUST_SATURATION, c.ADJUST_CONTRAST):
        amount = (tensor((), positive, F32),) if contract.arity[0] == 2 else ()
        for dtype in (F16, F32, F64):
            # Near grey a hue is the quotient of small differences: float16 is too coarse for any tolerance.
            if dtype == F16 and contract in (c.RGB_TO_HSV, c.ADJUST_HUE):
                continue
            yield Case(contract, str(np.dtype(dtype)), (tensor((2, 5, 6, 3), positive, dtype), *amount))
        yield Case(contract, "rank5", (tensor((2, 1, 3, 4, 3), positive), *amount))
        yield Case(contract, "empty", (tensor((0, 3, 4, 3), positive), *amount), tags=frozenset(["empty"]))
        yield Case(contract, "photo", (tensor((1, 600, 400, 3), positive), *amount), measure=True)
        for memory in MEMORIES:
            yield Case(contract, memory, (tensor((2, 5, 6, 3), positive, memory=memory), *amount), memory=memory)
    yield Case(c.ADJUST_CONTRAST, "c5", (tensor((2, 5, 6, 5), positive), tensor((), positive)))


CASES: tuple[Case, ...] = tuple(_cases())
