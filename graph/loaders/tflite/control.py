"""Branches, loops and variables: what refers to other subgraphs of the model.

A subgraph gets all that it reads as inputs, so it becomes a graph of its own with placeholders, in the file's element types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ....kernels.tensor import TensorType
from ... import ir
from ...builder import Tensor
from ...opdefs.control import common_shape
from .build import Build, Converter, Refused, Use
from .constants import KINDS, kind_name

__all__ = ["CONVERTERS"]

#: A body is built anew while what it makes has another shape than what it takes: known, number of axes, unknown.
_TRIES = 3


def _part(use: Use, number: int, types: Sequence[TensorType]) -> tuple[Build, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """A subgraph as a graph with inputs of these types: its build, inputs and outputs."""
    if use.build.enclosed is None:
        raise Refused("a subgraph inside of a subgraph that cannot be read")
    inner = use.build.enclosed(number, [t.shape for t in types])
    taken = tuple(inner.fed[i] for i in inner.model.inputs)
    if len(inner.model.inputs) != len(types) or len(set(inner.model.inputs)) != len(types):
        raise Refused(f"subgraph {number} takes {len(inner.model.inputs)} inputs, and gets {len(types)}")
    for x, t in zip(taken, types, strict=True):
        if x.dtype != t.dtype:
            raise Refused(f"subgraph {number} takes {x.dtype}, and gets {t.dtype}")
    return inner, taken, tuple(inner.result(i) for i in inner.model.outputs)


def _graph(build: Build, outputs: Sequence[Tensor]) -> ir.Graph:
    return ir.Graph(build.graph.freeze().nodes, tuple(x.port for x in outputs))


def _given(use: Use, first: int) -> list[Tensor]:
    """The inputs from ``first`` on, in the file's element types."""
    for i in range(first, use.count):
        if use.given(i).kind not in KINDS:
            raise Refused(f"takes elements of type {kind_name(use.given(i).kind)}")
    use.stored = True
    return [use.raw(i) for i in range(first, use.count)]


def _if(use: Use) -> tuple[Tensor, ...]:
    """then and else by input 0."""
    condition, given = use.x(0), _given(use, 1)
    if condition.dtype != np.dtype(bool):
        raise Refused(f"a condition of {condition.dtype}")
    parts = [_part(use, use.option(slot), [x.type for x in given]) for slot in (1, 0)]
    if len(parts[0][2]) != len(parts[1][2]):
        raise Refused(f"branches of {len(parts[0][2])} and {len(parts[1][2])} results")
    attrs = {
        "branches": tuple(_graph(build, made) for build, _, made in parts),
        "branch_inputs": tuple(tuple(x.op.name for x in taken) for _, taken, _ in parts),
        "index": False,
    }
    return use.all("KiBranch", [condition, *given], attrs, len(parts[0][2]))


def _while(use: Use) -> tuple[Tensor, ...]:
    """State goes through the body while the condition of it holds."""
    start = _given(use, 0)
    types = [x.type for x in start]
    for tries in range(_TRIES):
        if tries == _TRIES - 1:
            types = [TensorType(t.dtype, None) for t in types]
        body, taken, made = _part(use, use.option(1), types)
        if len(made) != len(taken):
            raise Refused(f"a body of {len(taken)} inputs and {len(made)} results")
        wider = [TensorType(t.dtype, common_shape((t, y.type))) for t, y in zip(types, made, strict=True)]
        if wider == types:
            break
        types = wider
    cond, asked, decides = _part(use, use.option(0), types)
    if len(decides) != 1:
        raise Refused(f"a condition of {len(decides)} results")
    attrs = {
        "cond": _graph(cond, decides), "cond_inputs": tuple(x.op.name for x in asked),
        "body": _graph(body, made), "body_inputs": tuple(x.op.name for x in taken), "count": len(start),
        "steady": tuple(i for i, (x, y) in enumerate(zip(taken, made, strict=True)) if x is y),
    }  # fmt: skip
    outputs = use.all("KiWhile", start, attrs, len(start))
    return tuple(
        y if t.shape is None or y.shape == t.shape else use.add("EnsureShape", [y], {"shape": t.shape})
        for y, t in zip(outputs, types, strict=True)
    )


def _call_once(use: Use) -> tuple[Tensor, ...]:
    """What sets variables; they are read where they are used."""
    return ()


def _read_variable(use: Use) -> Tensor:
    """The constant that the subgraph of CALL_ONCE gives to the variable, if nothing changes it later."""
    build = use.build
    name = _variable(build, use.index(0))
    if any(op.name == "ASSIGN_VARIABLE" for op in build.model.operators):
        raise Refused("variables that a run changes")
    for operator in build.model.operators:
        if operator.name != "CALL_ONCE" or build.enclosed is None:
            continue
        setting = build.setting(Use(build, operator).option(0))
        for inner in setting.model.operators:
            if (
                inner.name == "ASSIGN_VARIABLE"
                and len(inner.inputs) == 2
                and _variable(setting, inner.inputs[0]) == name
            ):
                if inner.inputs[1] < 0 or setting.literal(inner.inputs[1]) is None:
                    raise Refused(f"variable '{name[:80]}', which is set to a computed value")
                return setting.value(inner.inputs[1])
    raise Refused(f"variable '{name[:80]}', which nothing sets")


def _variable(build: Build, index: int) -> str:
    """The name that a VAR_HANDLE has."""
    for operator in build.model.operators:
        if operator.name == "VAR_HANDLE" and index in operator.outputs and operator.options is not None:
            return f"{operator.options.text(0)}/{operator.options.text(1)}"
    raise Refused("a variable that comes from elsewhere")


CONVERTERS: Mapping[str, Converter] = {
    "IF": _if,
    "WHILE": _while,
    "CALL_ONCE": _call_once,
    "READ_VARIABLE": _read_variable,
}
