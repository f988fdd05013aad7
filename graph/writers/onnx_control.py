"""Loops and branches in ONNX: Loop and If, whose graphs read what is outside of them by its name.

A Loop of ONNX tests its condition behind the body, so the condition is written twice: before the loop and in its body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..builder import Graph, Operation, Tensor
from ..errors import GraphError
from ..formats.onnx import GraphProto, TensorShape, TensorType, TypeProto, ValueInfo
from ..ir import Graph as Frozen
from .onnx_prepare import needed_by, prepared, thawed
from .onnx_writer import Writer, data_type

__all__ = ["RULES"]

#: What an input of a graph inside is: a tensor outside, or a name that the graph itself has.
Given = Tensor | str


class _Part:
    """A graph inside, written with its inputs. ``ends``: its outputs."""

    def __init__(
        self, outer: Writer, frozen: Frozen, names: Sequence[str], given: Sequence[Given], source: Writer, inline: bool = False
    ) -> None:  # fmt: skip
        """source: the writer that knows the tensors of ``given``."""
        graph = thawed(Graph(), frozen)
        ends = [graph.operation(p.node).outputs[p.index] for p in frozen.outputs]
        starts = [graph.operation(n).outputs[0] for n in names if n]
        graph, moved, _ = prepared(graph, ends, ())
        self.ends = [moved[t] for t in ends]
        self.writer = outer.inner(graph, inline=inline)
        known = {graph.operation(t.op.name).outputs[0] for t in starts if t.op.name in graph}
        of = {n: x for n, x in zip(names, given, strict=True) if n}
        for tensor in known:
            value = of[tensor.op.name]
            if isinstance(value, str):
                self.writer.set(tensor, value)
            else:
                source.hand_in(value, self.writer, tensor)
        needed = needed_by(self.ends, list(known))
        for op in needed:
            if op.type == "Placeholder" and op.outputs[0] not in known:
                raise GraphError(f"ONNX: '{op.name}' inside of a loop or branch is an input that nothing gives")
        self.writer.write_all(graph, needed, known)

    def results(self, wanted: Sequence[int]) -> list[str]:
        return [self.writer.get(self.ends[i]) for i in wanted]

    def proto(
        self, name: str, results: Sequence[tuple[str, int, bool]], inputs: Sequence[ValueInfo] = ()
    ) -> GraphProto:
        """The graph with these outputs: name inside, element type, whether a scalar."""
        outputs = []
        for source, number, scalar in results:
            end = self.writer.fresh(f"{name}.{source}")
            self.writer.emit("Identity", [source], end, exact=True)
            outputs.append(_info(end, number, scalar))
        nodes, constants = self.writer.needed()
        return GraphProto(node=nodes, name=name, initializer=constants, input=list(inputs), output=outputs)


def _info(name: str, number: int, scalar: bool = False) -> ValueInfo:
    """A value of any shape, or a scalar."""
    shape = TensorShape(dim=[]) if scalar else None
    return ValueInfo(name=name, type=TypeProto(tensor_type=TensorType(elem_type=number, shape=shape)))


def _while(writer: Writer, op: Operation) -> None:
    attrs, count = op.attrs, op.attrs["count"]
    steady = set(attrs.get("steady", ()))
    changing = [i for i in range(count) if i not in steady]
    if not changing:
        raise GraphError(f"ONNX: the loop '{op.name}' changes nothing, which a Loop of ONNX cannot have")
    numbers = [data_type(op.inputs[i].dtype, f"state {i} of the loop '{op.name}'") for i in changing]
    first = _Part(writer, attrs["cond"], attrs["cond_inputs"], op.inputs, writer, inline=True)
    start = _truth(first.writer, first.ends[0], op.name)
    inside = {i: writer.fresh(f"{op.name}.state.{i}") for i in changing}
    step, before = writer.fresh(f"{op.name}.step"), writer.fresh(f"{op.name}.condition")
    body = _Part(writer, attrs["body"], attrs["body_inputs"], _mixed(op, inside), writer)
    after = dict(zip(changing, body.results(changing), strict=True))
    test = _Part(body.writer, attrs["cond"], attrs["cond_inputs"], _mixed(op, after), writer, inline=True)
    on = _truth(test.writer, test.ends[0], op.name)
    proto = body.proto(
        f"{op.name}.body",
        [(on, 9, True), *((after[i], n, False) for i, n in zip(changing, numbers, strict=True))],
        [_info(step, 7, True), _info(before, 9, True), *(_info(inside[i], n) for i, n in zip(changing, numbers, strict=True))],
    )  # fmt: skip
    begin = [writer.get(op.inputs[i]) for i in changing]
    ends = writer.emit_many("Loop", ["", start, *begin], op.name, len(changing), body=proto)
    made = dict(zip(changing, ends, strict=True))
    for i, output in enumerate(op.outputs):
        if i in made:
            writer.set(output, made[i])
        else:
            writer.same(op.inputs[i], output)


def _mixed(op: Operation, names: Mapping[int, str]) -> list[Given]:
    return [names.get(i, x) for i, x in enumerate(op.inputs)]


def _truth(writer: Writer, x: Tensor, of: str) -> str:
    """A scalar bool as TensorFlow takes a value for a truth: a number other than 0; if it has axes, any elements."""
    name = writer.get(x)
    if x.dtype != np.dtype(bool):
        data_type(x.dtype, f"the condition of '{of}'")
        name = writer.emit("Cast", [name], f"{name}.bool", to=9)
    if x.type.rank == 0:
        return name
    zero = writer.constant(np.array(0, np.int64), f"{name}.zero")
    size = writer.emit("Size", [writer.get(x)], f"{name}.size")
    some = writer.emit("Greater", [size, zero], f"{name}.some")
    if x.type.rank is not None:
        return some
    axes = writer.emit("Size", [writer.emit("Shape", [name], f"{name}.shape")], f"{name}.rank")
    scalar = writer.emit("Equal", [axes, zero], f"{name}.scalar")
    flat = writer.constant(np.array([-1], np.int64), f"{name}.flat")
    line = writer.emit("Reshape", [writer.emit("Cast", [name], f"{name}.int", to=7), flat], f"{name}.line")
    over = writer.constant(np.array([0], np.int64), f"{name}.axes")
    total = writer.emit("ReduceSum", [line, over], f"{name}.sum", keepdims=0)
    value = writer.emit("Greater", [total, zero], f"{name}.value")
    # ONNX Runtime has no Where of bools
    of_axes = writer.emit("And", [writer.emit("Not", [scalar], f"{name}.axes.some"), some], f"{name}.elements")
    return writer.emit("Or", [writer.emit("And", [scalar, value], f"{name}.number"), of_axes], f"{name}.truth")


def _branch(writer: Writer, op: Operation) -> None:
    """A Case is an If inside the other side of an If, for each index but the last."""
    graphs, names = op.attrs["branches"], op.attrs["branch_inputs"]
    numbers = [data_type(t.dtype, f"output {t.index} of the branch '{op.name}'") for t in op.outputs]
    every = range(len(op.outputs))

    def side(at: Writer, i: int) -> GraphProto:
        part = _Part(at, graphs[i], names[i], op.inputs[1:], writer)
        return part.proto(f"{op.name}.{i}", [(x, n, False) for x, n in zip(part.results(every), numbers, strict=True)])

    def choice(at: Writer, i: int) -> list[str]:
        """What decides between branch i and those behind it."""
        number = at.constant(np.array(i, op.inputs[0].dtype), f"{op.name}.index")
        same = at.emit("Equal", [index, number], f"{op.name}.is.{i}")
        return at.emit_many("If", [same], op.name, len(every), then_branch=side(at, i), else_branch=rest(at, i + 1))

    def rest(at: Writer, i: int) -> GraphProto:
        if i == len(graphs) - 1:
            return side(at, i)
        inner = at.inner(Graph(), inline=False)
        results = choice(inner, i)
        outputs = []
        for x, n in zip(results, numbers, strict=True):
            end = inner.fresh(f"{x}.end")
            inner.emit("Identity", [x], end, exact=True)
            outputs.append(_info(end, n))
        nodes, constants = inner.needed()
        return GraphProto(node=nodes, name=f"{op.name}.from.{i}", initializer=constants, output=outputs)

    if not op.outputs:
        return
    if not op.attrs.get("index"):
        test = _truth(writer, op.inputs[0], op.name)
        made = writer.emit_many(
            "If", [test], op.name, len(every), then_branch=side(writer, 1), else_branch=side(writer, 0)
        )
    else:
        index = _scalar(writer, op.inputs[0])
        if len(graphs) == 1:
            part = _Part(writer, graphs[0], names[0], op.inputs[1:], writer, inline=True)
            made = part.results(every)
        else:
            made = choice(writer, 0)
    for output, name in zip(op.outputs, made, strict=True):
        writer.set(output, name)


def _scalar(writer: Writer, x: Tensor) -> str:
    if x.type.rank == 0:
        return writer.get(x)
    shape = writer.constant(np.array([], np.int64), f"{x.op.name}.scalar.shape")
    return writer.emit("Reshape", [writer.get(x), shape], f"{x.op.name}.scalar")


RULES = {"KiWhile": _while, "KiBranch": _branch}
