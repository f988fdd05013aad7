"""Loops and branches as a GraphDef has them: While, If and Case, with functions of its library for their graphs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ...kernels.tensor import DType
from ..builder import Graph, Operation
from ..errors import GraphError
from ..formats.protobuf.write import pack_numbers
from ..formats.tensorflow import (
    DTYPE_NUMBERS,
    ArgDef,
    AttrList,
    AttrValue,
    Entry,
    FunctionDef,
    FunctionRef,
    NodeDef,
    Signature,
)
from ..formats.tensorflow_outputs import OUTPUT_NAMES
from ..formats.tensorflow_single_outputs import SINGLE_OUTPUTS
from ..ir import LIST, Port
from ..ir import Graph as Frozen
from ..opdefs.control import LOOPS
from ..rewrite import reachable

__all__ = ["VARIANT", "Functions"]

#: TensorFlow's element type of a list of tensors.
VARIANT = 21
_LETTERS = re.compile(r"[^A-Za-z0-9_]")


class Functions:
    """The functions of one file, in the order in which they are made. ``node``: how an operation is written."""

    def __init__(self, node: Callable[[Operation], NodeDef]) -> None:
        self._node = node
        self.made: list[FunctionDef] = []
        self._names: set[str] = set()

    def write(self, operation: Operation) -> NodeDef:
        """KiWhile or KiBranch; the functions that it calls are added. GraphError for a type that the format lacks."""
        attrs = operation.attrs
        inputs = [t.name if t.index else t.op.name for t in operation.inputs]
        control = [f"^{c.name}" for c in operation.control_inputs]
        if operation.type == "KiWhile":
            types = [t.dtype for t in operation.inputs]
            cond = self._function(operation, "cond", attrs["cond"], attrs["cond_inputs"], types)
            # a While gives back all that it takes: what stays, too
            body = self._function(
                operation, "body", attrs["body"], attrs["body_inputs"], types, types[attrs["count"] :]
            )
            values = {"cond": AttrValue(func=cond), "body": AttrValue(func=body), "T": _types(operation, types)}
            return NodeDef(
                name=operation.name, op="While", input=[*inputs, *control], attr=dict(sorted(values.items()))
            )
        given = [t.dtype for t in operation.inputs[1:]]
        parts = [
            self._function(operation, f"branch_{i}", graph, names, given)
            for i, (graph, names) in enumerate(zip(attrs["branches"], attrs["branch_inputs"], strict=True))
        ]
        values = {"Tin": _types(operation, given), "Tout": _types(operation, [t.dtype for t in operation.outputs])}
        if attrs.get("index"):
            values["branches"] = AttrValue(list=AttrList(func=parts))
        else:
            values |= {"else_branch": AttrValue(func=parts[0]), "then_branch": AttrValue(func=parts[1])}
            values["Tcond"] = AttrValue(type=_number(operation, operation.inputs[0].dtype))
        op = "Case" if attrs.get("index") else "If"
        return NodeDef(name=operation.name, op=op, input=[*inputs, *control], attr=dict(sorted(values.items())))

    def _function(
        self, of: Operation, part: str, frozen: Frozen, names: Sequence[str], types: Sequence[DType], passed: Sequence[DType] = ()
    ) -> FunctionRef:  # fmt: skip
        """Adds a graph as a function of all inputs; ``passed``: types of the last inputs, which it gives back as they are."""
        name = self._free(f"{_LETTERS.sub('_', of.name)}_{part}")
        needed = reachable(frozen)
        graph = Graph()
        for node in frozen:
            if node.name in needed:
                made = [graph.operation(p.node).outputs[p.index] for p in node.inputs]
                control = [graph.operation(c) for c in node.control if c in graph]
                graph.create_op(
                    node.op, made, node.attrs, node.name, control, len(node.outputs), exact_name=True
                )  # fmt: skip
        arguments = self._arguments(graph, len(types))
        argument_of = {n: a for n, a in zip(names, arguments, strict=True) if n}
        nodes = []
        for operation in graph.operations:
            if operation.name in argument_of:
                continue
            if operation.type == "Placeholder":
                raise GraphError(
                    f"GraphDef: '{operation.name}' in {part} of '{of.name}' is an input that nothing gives"
                )
            written = self.write(operation) if operation.type in LOOPS else self._node(operation)
            written.input = [_inside(text, graph, argument_of) for text in written.input]
            nodes.append(written)
        results = [_inside(_text(port), graph, argument_of) for port in frozen.outputs]
        results += arguments[len(arguments) - len(passed) :] if passed else []
        dtypes = [graph.operation(p.node).outputs[p.index].dtype for p in frozen.outputs] + list(passed)
        ends = [f"result_{i}" for i in range(len(results))]
        signature = Signature(
            name=name,
            input_arg=[ArgDef(name=a, type=_number(of, t)) for a, t in zip(arguments, types, strict=True)],
            output_arg=[ArgDef(name=e, type=_number(of, t)) for e, t in zip(ends, dtypes, strict=True)],
        )
        ret = [Entry(key=e, value=r) for e, r in zip(ends, results, strict=True)]
        self.made.append(FunctionDef(signature=signature, node_def=nodes, ret=ret))
        return FunctionRef(name=name)

    def _free(self, name: str) -> str:
        candidate, count = name, 0
        while candidate in self._names:
            count += 1
            candidate = f"{name}_{count}"
        self._names.add(candidate)
        return candidate

    @staticmethod
    def _arguments(graph: Graph, count: int) -> list[str]:
        """Names of arguments that no node has."""
        prefix = "arg"
        while any(f"{prefix}_{i}" in graph for i in range(count)):
            prefix += "_"
        return [f"{prefix}_{i}" for i in range(count)]


def _text(port: Port) -> str:
    return f"{port.node}:{port.index}" if port.index else port.node


def _inside(text: str, graph: Graph, arguments: dict[str, str]) -> str:
    """'node', 'node:1' or '^node' as a function's body has it: an argument, or 'node:output:index'."""
    if text.startswith("^"):
        return f"^{arguments.get(text[1:], text[1:])}"
    name, _, number = text.partition(":")
    if name in arguments:
        return arguments[name]
    op, index = _type(graph.operation(name)), int(number or 0)
    several = OUTPUT_NAMES.get(op)
    return f"{name}:{SINGLE_OUTPUTS.get(op, 'output')}:{index}" if several is None else f"{name}:{several[index]}:0"


def _type(operation: Operation) -> str:
    """The op type that the file will have."""
    return {"KiWhile": "While", "KiBranch": "Case" if operation.attrs.get("index") else "If"}.get(
        operation.type, operation.type
    )


def _number(operation: Operation, dtype: DType) -> int:
    number = VARIANT if dtype == LIST else DTYPE_NUMBERS.get(dtype)
    if number is None:
        raise GraphError(
            f"GraphDef: '{operation.name}' hands on values of an unknown element type, which cannot be written"
        )
    return number


def _types(operation: Operation, dtypes: Sequence[DType]) -> Any:
    numbers = [_number(operation, d) for d in dtypes]
    return AttrValue(list=AttrList(type=[pack_numbers(numbers, "enum")] if numbers else []))  # type: ignore[list-item]
