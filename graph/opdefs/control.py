"""Control flow: ops that decide what runs. The plan handles them itself; none has a kernel.

Switch and Merge are gone when a plan is made (plan/branches.py). Loops and branches with graphs of their own as attributes
are made by loaders, and run by plan/loops.py.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from ...kernels.contracts.base import require_same_dtype
from ...kernels.errors import DTypeError
from ...kernels.tensor import STRING, Shape, TensorType
from ..errors import GraphError
from ..ir import UNKNOWN, Graph
from .attributes import Attr, T
from .base import OpDef, Site

__all__ = ["BRANCHING", "CONTROL", "DEFS", "LOOPS", "OF_PROGRAMS"]

_SCALAR = TensorType(np.dtype(np.int32), ())


def _planned(site: Site) -> NoReturn:
    raise GraphError(f"{site.op} '{site.name}' has no kernel: the plan handles it")


def _infer_switch(site: Site) -> tuple[TensorType, ...]:
    predicate = site.inputs[1]
    if predicate.dtype not in (np.dtype(bool), UNKNOWN) or predicate.rank not in (0, None):
        raise DTypeError(f"{site.op} '{site.name}': the predicate must be a bool of shape (), got {predicate}")
    return (site.inputs[0], site.inputs[0])


def common_shape(types: tuple[TensorType, ...]) -> Shape:
    """What is known of a tensor that is one of several."""
    shapes = [t.shape for t in types]
    first = shapes[0]
    if first is None or any(s is None or len(s) != len(first) for s in shapes):
        return None
    return tuple(d if all(s is not None and s[i] == d for s in shapes) else None for i, d in enumerate(first))


def _infer_merge(site: Site) -> tuple[TensorType, ...]:
    require_same_dtype(f"{site.op} '{site.name}'", site.inputs)
    return (TensorType(site.inputs[0].dtype, common_shape(site.inputs)), _SCALAR)


def _graph(site: Site, graph: object, inputs: object, outputs: int) -> Graph:
    """An attribute that is a graph, with the names of its placeholders in the order of the inputs that they stand for."""
    if (
        not isinstance(graph, Graph)
        or not isinstance(inputs, tuple)
        or not all(isinstance(n, str) and (n in graph.nodes or not n) for n in inputs)
        or len(graph.outputs) != outputs
    ):
        raise GraphError(f"{site.op} '{site.name}': its graphs and their inputs do not fit together")
    return graph


def _infer_while(site: Site) -> tuple[TensorType, ...]:
    """What the loop changes may change its shape, too. ``steady``: of what it may change, the numbers of what stays."""
    count = site.attr("count")
    if not isinstance(count, int) or not 0 <= count <= len(site.inputs):
        raise GraphError(
            f"{site.op} '{site.name}': {count!r} of {len(site.inputs)} inputs change, expected a number of them"
        )
    for name, outputs in (("cond", 1), ("body", count)):
        names = site.attr(f"{name}_inputs")
        _graph(site, site.attr(name), names, outputs)
        if len(names) != len(site.inputs):
            raise GraphError(f"{site.op} '{site.name}': {name} takes {len(names)} inputs, got {len(site.inputs)}")
    body: Graph = site.attr("body")
    for i, port in enumerate(body.outputs):
        made = body.type_of(port)
        if made.dtype not in (site.inputs[i].dtype, UNKNOWN):
            raise DTypeError(f"{site.op} '{site.name}': the loop makes {made} of input {i}, which is {site.inputs[i]}")
    steady = site.attr("steady", ())
    if not isinstance(steady, tuple):
        raise GraphError(f"{site.op} '{site.name}': attribute steady must be a tuple, got {steady!r}")
    return tuple(t if i in steady else TensorType(t.dtype, None) for i, t in enumerate(site.inputs[:count]))


def _infer_branch(site: Site) -> tuple[TensorType, ...]:
    graphs, names = site.attr("branches"), site.attr("branch_inputs")
    if not isinstance(graphs, tuple) or not isinstance(names, tuple) or not graphs or len(graphs) != len(names):
        raise GraphError(f"{site.op} '{site.name}': its graphs and their inputs do not fit together")
    count = len(graphs[0].outputs) if isinstance(graphs[0], Graph) else 0
    checked = [_graph(site, g, n, count) for g, n in zip(graphs, names, strict=True)]
    if any(len(n) != len(site.inputs) - 1 for n in names):
        raise GraphError(f"{site.op} '{site.name}': branches of other numbers of inputs than {len(site.inputs) - 1}")
    result = []
    for i in range(count):
        made = tuple(g.type_of(g.outputs[i]) for g in checked)
        dtypes = {t.dtype for t in made} - {UNKNOWN}
        if len(dtypes) > 1:
            raise DTypeError(f"{site.op} '{site.name}': output {i} is {' or '.join(map(str, made))}")
        unknown = len(dtypes) < 1 or UNKNOWN in {t.dtype for t in made}
        result.append(TensorType(dtypes.pop() if dtypes else UNKNOWN, None if unknown else common_shape(made)))
    return tuple(result)


def _infer_file(site: Site) -> tuple[TensorType, ...]:
    name = site.inputs[0]
    if name.dtype not in (STRING, UNKNOWN) or name.rank not in (0, None):
        raise DTypeError(f"{site.op} '{site.name}': the name of a file is a string of shape (), got {name}")
    return (TensorType(STRING, ()),)


#: Loops and branches whose graphs are attributes.
LOOPS = frozenset(["KiWhile", "KiBranch"])
#: Op types that no file may have: a file does not read other files.
OF_PROGRAMS = LOOPS | {"KiReadFile"}
_DATA = Attr("list")
_WHILE = {
    "cond": _DATA,
    "body": _DATA,
    "cond_inputs": _DATA,
    "body_inputs": _DATA,
    "count": Attr("int"),
    "steady": Attr("list", ()),
}
_BRANCH = {"branches": _DATA, "branch_inputs": _DATA, "index": Attr("bool", False)}
#: Of ops that are run for their effect: they hand on input 0, a value or what must be true; the others are shown.
_PRINT = {"message": Attr("string", ""), "first_n": Attr("int", -1), "summarize": Attr("int", 3)}
_ASSERT = {"summarize": Attr("int", 3)}

#: Op types of which one input or output of several is live.
BRANCHING = frozenset(["Switch", "RefSwitch", "Merge", "RefMerge"])
_MERGE = {**T, "N": Attr("int", count=0)}

DEFS: tuple[OpDef, ...] = (
    *(OpDef(op, _planned, arity=(2, 2), infer=_infer_switch) for op in ("Switch", "RefSwitch")),
    *(OpDef(op, _planned, arity=(1, None), infer=_infer_merge, attributes=_MERGE) for op in ("Merge", "RefMerge")),
    OpDef("KiWhile", _planned, arity=(0, None), infer=_infer_while, attributes=_WHILE),
    OpDef("KiBranch", _planned, arity=(1, None), infer=_infer_branch, attributes=_BRANCH),
    OpDef("KiPrint", _planned, arity=(1, None), infer=lambda site: site.inputs[:1], attributes=_PRINT),
    OpDef("KiSummary", _planned, arity=(2, 2), infer=lambda site: (TensorType(STRING, ()),), attributes={}),
    OpDef("KiReadFile", _planned, arity=(1, 1), infer=_infer_file, attributes={}),
    OpDef("KiAssert", _planned, arity=(1, None), infer=lambda site: site.inputs[:1], attributes=_ASSERT),
)

#: Op types that have no kernel, because the plan handles them.
CONTROL = frozenset(d.name for d in DEFS)
