"""Cases of sibling 1x1 convolutions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any

from ...contracts.matmul import Activation
from ...contracts.siblings import SIBLING_CONV2D, Sibling, SiblingParams
from ...inception_v3 import CONVOLUTIONS
from ...tensor import DType
from ..case import F16, F32, F64, PLACEMENTS, Case, Input, Memory, tensor
from ..values import normal, scaled, sparse_nan

__all__ = ["CASES", "sibling_case"]

#: (output channels, bias, activation) of one sibling.
Member = tuple[int, bool, Activation]


def sibling_case(
    name: str,
    x: tuple[int, int, int, int],
    members: Sequence[Member],
    *,
    dtype: DType = F32,
    constant: bool = True,
    values: Any = normal,
    x_memory: Memory = "dense",
    memory: Memory = "dense",
    threads: int = 1,
    tags: tuple[str, ...] = (),
) -> Case:
    """x NHWC; weights scaled to give results near 1."""
    cin = x[3]
    inputs: list[Input] = [tensor(x, values, dtype, memory=x_memory)]
    for cout, bias, _ in members:
        inputs.append(tensor((1, 1, cin, cout), scaled(1 / sqrt(max(cin, 1))), dtype, constant=constant))
        if bias:
            inputs.append(tensor((cout,), normal, dtype, constant=constant))
    params = SiblingParams(tuple(Sibling(bias, activation) for _, bias, activation in members))
    return Case(SIBLING_CONV2D, name, tuple(inputs), params, frozenset(tags), memory, threads)


_MIXED: tuple[Member, ...] = ((24, True, "relu"), (7, False, "none"), (48, True, "relu6"), (33, False, "relu"))

#: The 1x1 convolutions that read the same tensor; the last one's pool branch convolves before it pools.
_FAMILIES = (("A0", "A0."), ("A2", "A2."), ("C0", "C0."), ("E0", "E0."))


def _inception() -> Iterator[Case]:
    for name, prefix in _FAMILIES:
        layers = [c for c in CONVOLUTIONS if c.name.startswith(prefix) and c.kernel == (1, 1)]
        pools = {c.name for c in layers if c.name.endswith("pool")}
        members: list[Member] = [(c.cout, c.name not in pools, "none" if c.name in pools else "relu") for c in layers]
        first = layers[0]
        for threads in (1, 2):
            yield sibling_case(
                f"inception-{name}-threads{threads}",
                (1, first.size, first.size, first.cin),
                members,
                threads=threads,
                tags=("inception", *(("threads",) if threads > 1 else ())),
            )


def _cases() -> Iterator[Case]:
    for couts in ((1,), (16, 16), (1, 1, 1), (15, 17), (31, 33, 2), (80, 3), (130, 64, 48, 96), (8,) * 20):
        members: list[Member] = [(c, i % 2 == 0, "relu" if i % 3 else "none") for i, c in enumerate(couts)]
        name = "-".join(map(str, couts[:5])) + ("" if len(couts) < 6 else f"-and-{len(couts) - 5}-more")
        yield sibling_case(f"c{name}", (1, 5, 7, 19), members, tags=("tail",))
        yield sibling_case(f"c{name}-threads2", (2, 9, 7, 33), members, threads=2, tags=("tail", "threads"))
    for cin in (1, 2, 7, 16, 31, 300):
        yield sibling_case(f"cin{cin}", (2, 3, 5, cin), _MIXED, tags=("tail",))
    for size in (1, 2, 4, 13):
        yield sibling_case(f"pixels{size}", (1, 1, size, 24), _MIXED, threads=2, tags=("tail", "threads"))
    for name, x in (("batch0", (0, 5, 5, 3)), ("height0", (1, 0, 5, 3)), ("cin0", (1, 5, 4, 0))):
        yield sibling_case(name, x, _MIXED, tags=("empty",))
        yield sibling_case(f"{name}-fed", x, _MIXED, constant=False, threads=2, tags=("empty",))
    yield sibling_case(
        "cout0", (1, 5, 4, 3), ((0, True, "relu"), (5, True, "relu"), (0, False, "none")), tags=("empty",)
    )
    for threads in (1, 2):
        yield sibling_case(f"fed-threads{threads}", (2, 6, 7, 40), _MIXED, constant=False, threads=threads,
                           tags=("fed", "threads"))  # fmt: skip
    yield sibling_case("nan", (2, 9, 8, 21), _MIXED, values=sparse_nan, tags=("nan",))
    yield sibling_case("large-values", (1, 9, 8, 21), _MIXED, values=scaled(4), tags=("epilogue",))
    yield sibling_case("several-groups", (1, 40, 41, 120), _MIXED, threads=2, tags=("threads",))
    for x_memory, memory in PLACEMENTS:
        yield sibling_case(f"{x_memory}-to-{memory}", (2, 5, 6, 20), _MIXED, x_memory=x_memory, memory=memory,
                           threads=2, tags=("strided",))  # fmt: skip
    for dtype in (F16, F64):
        yield sibling_case(f"{dtype}", (2, 6, 7, 21), _MIXED, dtype=dtype)
        yield sibling_case(f"{dtype}-fed", (2, 6, 7, 21), _MIXED, dtype=dtype, constant=False, threads=2)


CASES: tuple[Case, ...] = (*_cases(), *_inception())
