"""Chains of elementwise ops, by themselves and behind other kernels; the C side is c/chain.h."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..checks import refuse_dtypes
from ..contracts.chains import CHAIN, MOST_REGISTERS, ChainParams, Step, last_uses, parse_chain, reach_of
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import Array, DType, TensorType
from .loops import ChainRun, bind_chain
from .support import FLOATS, Bound

__all__ = ["KERNELS", "Chain"]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain for tensors of type ``output``, with operands of these types."""

    output: TensorType
    operands: tuple[TensorType, ...]
    steps: tuple[tuple[str, int, int, int], ...]
    numbers: np.ndarray[tuple[int], DType]
    threads: int

    @classmethod
    def of(cls, text: str, output: TensorType, operands: Sequence[TensorType], threads: int) -> Chain:
        steps = _with_maps(parse_chain(text), output.dtype)
        numbers = {_key(v): v for s in steps for v in s.values if isinstance(v, float)}
        made = _placed(steps, len(operands), list(numbers))
        return cls(output, tuple(operands), made, np.array(list(numbers.values()), output.dtype), threads)

    def bind(self, x: Array, operands: Sequence[Array], y: Array) -> ChainRun:
        """What runs it; y may be x."""
        reaches = []
        for t in self.operands:
            reach = reach_of(t.shape, self.output.shape)
            assert reach is not None  # the contract has checked it
            reaches.append(reach)
        return bind_chain(
            [x, *operands], [self.output, *self.operands], y, self.output,
            steps=self.steps, reaches=reaches, numbers=self.numbers, threads=self.threads,
        )  # fmt: skip


def _key(value: str | float) -> str | tuple[float, float]:
    """What tells values apart: 0.0 and -0.0 are two numbers."""
    return value if isinstance(value, str) else (value, math.copysign(1.0, value))


def _placed(
    steps: Sequence[Step], operands: int, numbers: Sequence[str | tuple[float, float]]
) -> tuple[tuple[str, int, int, int], ...]:
    """(map, from, from, to) of each step: results get registers, which are free again after their last use."""
    last, free = last_uses(steps), list(range(1, MOST_REGISTERS + 1))
    place: dict[str | tuple[float, float], int] = {"x": 0}
    place.update((f"a{i}", 1 + MOST_REGISTERS + i) for i in range(operands))
    place.update((v, 1 + MOST_REGISTERS + operands + i) for i, v in enumerate(numbers))
    made = []
    for number, step in enumerate(steps):
        sources = [place[_key(v)] for v in step.values]
        free += [place[v] for v in set(step.values) if isinstance(v, str) and v[0] == "t" and last[v] == number]
        to = 0 if number + 1 == len(steps) else free.pop()
        place[f"t{number}"] = to
        if to and f"t{number}" not in last:
            free.append(to)
        made.append((step.op, sources[0], sources[-1], to))
    return tuple(made)


def _with_maps(steps: Sequence[Step], dtype: DType) -> tuple[Step, ...]:
    """The steps, with x * sigmoid(x), hard sigmoids and hard swishes as one map each, which computes them in the same order."""
    uses = [v for s in steps for v in s.values]
    sixth = float(dtype.type(1 / 6))
    made: list[Step | None] = list(steps)

    def source(value: str | float, op: str) -> tuple[int, Step] | None:
        """The step that gave a value which only one step reads, if it is that op."""
        if not isinstance(value, str) or value[0] != "t" or uses.count(value) != 1:
            return None
        step = made[int(value[1:])]
        return (int(value[1:]), step) if step is not None and step.op == op else None

    def merge(number: int, op: str, value: str | float, gone: Sequence[int]) -> None:
        made[number] = Step(op, (value,))
        for i in gone:
            made[i] = None

    for number, step in enumerate(steps):
        if step.op != "mul":
            continue
        for one, other in (step.values, step.values[::-1]):
            if (found := source(one, "sigmoid")) and found[1].values[0] == other:
                merge(number, "swish", other, [found[0]])
            elif (found := source(one, "hard_sigmoid")) and found[1].values[0] == other:
                merge(number, "hard_swish", other, [found[0]])
            elif (found := source(one, "relu6")) and other in (1 / 6, sixth):
                added = source(found[1].values[0], "add")
                if added and added[1].values[1] == 3.0:
                    merge(number, "hard_sigmoid", added[1].values[0], [found[0], added[0]])
            else:
                continue
            break
    return _renumbered(made)


def _renumbered(steps: Sequence[Step | None]) -> tuple[Step, ...]:
    """Without the steps that are gone."""
    names: dict[str, str] = {}
    made: list[Step] = []
    for number, step in enumerate(steps):
        if step is not None:
            names[f"t{number}"] = f"t{len(made)}"
            made.append(Step(step.op, tuple(names.get(v, v) if isinstance(v, str) else v for v in step.values)))
    return tuple(made)


def _prepare(query: Query[ChainParams], constants: Constants) -> Bound:
    chain = Chain.of(query.params.steps, query.outputs[0], query.inputs[1:], query.threads)

    def bind(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return chain.bind(inputs[0], inputs[1:], outputs[0])

    return Bound(bind)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        CHAIN,
        "cython",
        "chain",
        prepare=_prepare,
        supports=lambda query: refuse_dtypes(query, FLOATS),
        strided_outputs=True,
        strided_inputs=True,
    ),
)
