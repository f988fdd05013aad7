"""The trained model as a plain graph: variables become constants, what only training needed is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graph.builder import Graph, Operation, Tensor
from ..graph.errors import GraphError
from ..graph.ir import Literal
from ..graph.session import Session

__all__ = ["freeze"]


def freeze(session: Session, outputs: Sequence[Tensor | str], names: Mapping[str, str] | None = None) -> Graph:
    """A new graph that computes ``outputs`` with the session's present variable values as constants.

    outputs: tensors, or names of tensors. names: new operation names for some of the old ones.
    """
    source = session.graph
    wanted = [source.tensor(t) if isinstance(t, str) else t for t in outputs]
    renamed = dict(names or {})
    needed: set[Operation] = set()
    stack = [t.op for t in wanted]
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack.extend(t.op for t in op.inputs)
    frozen = Graph()
    made: dict[Operation, Operation] = {}
    for op in source.operations:
        if op not in needed:
            continue
        if op.type.startswith("Assign"):
            raise GraphError(f"freeze: '{op.name}' assigns a variable; choose outputs that only compute")
        name = renamed.get(op.name, op.name)
        if op.type == "VariableV2":
            literal = Literal.of(session.variable_value(op.outputs[0]))
            made[op] = frozen.create_op("Const", (), {"value": literal, "dtype": literal.dtype}, name, exact_name=True)
            continue
        inputs = [made[t.op].outputs[t.index] for t in op.inputs]
        made[op] = frozen.create_op(op.type, inputs, op.attrs, name, num_outputs=len(op.outputs), exact_name=True)
    return frozen
