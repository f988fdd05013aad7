"""Branches and loops in a graph: tf.cond, tf.case and tf.while_loop; tf.Print and tf.Assert; gradients through branches.

A branch is what it is in TensorFlow 1: Switch and Merge around operations of the same graph. A loop is one node with graphs
of its own for condition and body, whose operations have no names in the graph around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...graph import builder as core
from ...graph import ir
from .array import identity
from .building import apply, convert, graph_of, is_tensor, one, static_value
from .graph import Context, Graph, Operation, Tensor, control_dependencies, get_default_graph
from .nest import leaves_of, like
from .shapes import TensorShape, sizes_of

__all__ = ["Assert", "Print", "assert_ops", "case", "cond", "scratch", "while_loop"]


def cond(
    pred: Any, true_fn: Callable[[], Any] | None = None, false_fn: Callable[[], Any] | None = None, strict: bool = False,
    name: str | None = None, fn1: Any = None, fn2: Any = None,
) -> Any:  # fmt: skip
    """What true_fn or false_fn returns, as ``pred`` (a bool tensor of shape ()) is in a run.

    What the functions make runs on their side only; what was made outside runs in any case. Both return the same nesting
    of tensors of the same types.
    """
    true_fn, false_fn = true_fn or fn1, false_fn or fn2
    if not callable(true_fn) or not callable(false_fn):
        raise TypeError("cond(): true_fn and false_fn must be callable")
    if isinstance(pred, bool):
        raise TypeError("pred must not be a Python bool")
    graph = graph_of(pred)
    with graph.as_default(), graph.name_scope(name or "cond"):
        pred = convert(pred, "bool" if not is_tensor(pred) else None)
        switch = graph.create("Switch", [pred, pred], None, "Switch")
        pivots = [identity(switch.outputs[1], "switch_t"), identity(switch.outputs[0], "switch_f")]
        pred = identity(pred, "pred_id")
        sides, structure = [], None
        for function, pivot, side in ((true_fn, pivots[0], 1), (false_fn, pivots[1], 0)):
            made, leaves = _side(graph, function, pred, pivot, side)
            sides.append(leaves)
            structure = made if structure is None else structure
        return _merged(graph, pred, sides, structure, strict)


def _side(graph: Graph, function: Callable[[], Any], pred: Tensor, pivot: Tensor, side: int) -> tuple[Any, list[Any]]:
    """What a function returns, and that as tensors of its side."""
    outer = graph.context
    context = Context(graph, pred, pivot, side, outer)
    graph.enter(context)
    try:
        made = function()
        found: list[Any] = []
        for leaf in leaves_of(made):
            if leaf is None or isinstance(leaf, Operation):
                with control_dependencies([] if leaf is None else [leaf]):
                    found.append(identity(pivot))
            else:
                tensor = convert(leaf)
                found.append(graph.wrap(context.take(graph.reach(tensor))))
        return made, found
    finally:
        graph.enter(outer)


def _merged(graph: Graph, pred: Tensor, sides: list[list[Any]], structure: Any, strict: bool) -> Any:
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"true_fn and false_fn must return the same number of results, got {len(sides[0])} and {len(sides[1])}"
        )
    merged: list[Any] = []
    for true, false, leaf in zip(*sides, leaves_of(structure), strict=True):
        if true.dtype != false.dtype:
            raise TypeError(
                f"Outputs of true_fn and false_fn must have the same type: {true.dtype.name}, {false.dtype.name}"
            )
        made = graph.create("Merge", [false, true], {"N": 2}, "Merge")
        graph.core.predicates[made.core] = pred.core
        merged.append(made if leaf is None else made.outputs[0])
    made_like = like(structure, merged)
    single = not strict and isinstance(made_like, (list, tuple)) and len(made_like) == 1
    return made_like[0] if single else made_like


def case(
    pred_fn_pairs: Any, default: Callable[[], Any] | None = None, exclusive: bool = False, strict: bool = False,
    name: str = "case",
) -> Any:  # fmt: skip
    """What the function of the first true predicate returns, else that of ``default``; without one no predicate may fail."""
    pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, dict) else list(pred_fn_pairs)
    if not pairs:
        raise ValueError("case: there are no pairs of a predicate and a function")
    with get_default_graph().name_scope(name):
        waits = [_at_most_one([p for p, _ in pairs])] if exclusive and len(pairs) > 1 else []
        if default is None:
            *pairs, (last, function) = pairs

            def rest() -> Any:
                with control_dependencies([Assert(last, ["none of the predicates of tf.case is true"])]):
                    return _like_identity(function())
        else:
            rest = default
        for pred, function in reversed(pairs):
            rest = _choice(pred, function, rest, strict)
        with control_dependencies(waits):
            return rest()


def _at_most_one(preds: Sequence[Any]) -> Operation:
    from .math import cast, reduce_sum
    from .parts import stack

    count = reduce_sum(cast(stack([convert(p) for p in preds]), "int32"))
    return Assert(count < 2, ["case: more than one of the predicates is true: ", *preds])


def _choice(pred: Any, function: Callable[[], Any], rest: Callable[[], Any], strict: bool) -> Callable[[], Any]:
    return lambda: cond(pred, function, rest, strict)


def _like_identity(value: Any) -> Any:
    return like(value, [identity(v) for v in leaves_of(value)])


# --- loops ---------------------------------------------------------------------------------------------------------------


class _Inner(Graph):
    """The graph of a loop's condition or body. Tensors of the graph around it become inputs."""

    captures = True

    def __init__(self, outer: Graph) -> None:
        super().__init__()
        self.outer, self.seed = outer, outer.seed
        self.taken: dict[Any, Any] = {}

    def next_seed(self) -> int:
        return self.outer.next_seed()

    def placeholder(self, type: Any, shape: Any) -> core.Tensor:
        return self.core.create_op("Placeholder", (), {"dtype": type, "shape": shape}, "input").outputs[0]

    def reach(self, tensor: Tensor) -> core.Tensor:
        if tensor.graph is self:
            return tensor.reads
        if tensor not in self.taken:
            context, rewire = self.context, self.core.rewire
            self.enter(None)
            with self.core.control_dependencies(None), self.core.name_scope(None):
                self.taken[tensor] = self.placeholder(tensor.core.dtype, tensor.reads.shape)
            self.context, self.core.rewire = context, rewire
        found = self.taken[tensor]
        return self.context.take(found) if self.context else found

    def create(self, type: str, *args: Any, **kwargs: Any) -> Operation:
        if type in ("Assign", "AssignAdd", "AssignSub", "VariableV2"):
            raise ValueError(
                f"{type} inside of a tf.while_loop is not supported by kigraph.compat.v1: carry the value as a loop variable, "
                "and assign it after the loop"
            )
        return super().create(type, *args, **kwargs)


class _Scratch(_Inner):
    """A graph in which a function is tried, for what its results are like; seeds that it takes count for nothing."""

    def next_seed(self) -> int:
        return 0


@contextmanager
def scratch() -> Iterator[Graph]:
    """``with scratch() as inner:`` what is made inside goes nowhere."""
    inner = _Scratch(get_default_graph())
    with inner.as_default():
        yield inner


def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, shape_invariants: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, name: str | None = None, maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:  # fmt: skip
    """Repeats ``body`` on the loop variables while ``cond`` of them is true.

    loop_vars: a list or tuple of tensors, in any nesting. shape_invariants: what stays of their shapes; default: their
    shapes, so a variable that changes its shape needs one. Gradients through a loop are refused.
    """
    if not callable(cond) or not callable(body):
        raise TypeError("cond and body must be callable")
    if not loop_vars and loop_vars != 0:
        raise ValueError("No loop variables provided")
    items = loop_vars if isinstance(loop_vars, (list, tuple)) else [loop_vars]
    graph = get_default_graph()
    if maximum_iterations is not None:
        made = _limited(cond, body, items, shape_invariants, maximum_iterations, name)
    else:
        with graph.name_scope(name or "while"):
            made = _loop(graph, cond, body, items, shape_invariants)
    return made[0] if len(made) == 1 and not return_same_structure else made


def _limited(cond: Any, body: Any, items: Any, invariants: Any, limit: Any, name: str | None) -> Any:
    """With a counter as the first loop variable."""
    from .math import FUNCTIONS

    limit = convert(limit, "int32" if not is_tensor(limit) else None)

    def more(counter: Any, *values: Any) -> Any:
        return FUNCTIONS["logical_and"](FUNCTIONS["less"](counter, limit), cond(*values))

    def step(counter: Any, *values: Any) -> Any:
        made = body(*values)
        made = made if isinstance(made, (list, tuple)) else [made]
        return [counter + 1, *made]

    counter = convert(np.zeros((), limit.core.dtype))
    shapes = None if invariants is None else [TensorShape([]), *invariants]
    made = while_loop(more, step, [counter, *items], shapes, name=name, return_same_structure=True)
    return type(items)(made[1:])


def _loop(graph: Graph, cond: Any, body: Any, items: Any, invariants: Any) -> Any:
    initial = [convert(v) for v in leaves_of(items)]
    shapes = [t.shape for t in initial] if invariants is None else [TensorShape(s) for s in _shapes(invariants)]
    if len(shapes) != len(initial):
        raise ValueError(f"while_loop: {len(initial)} loop variables, but {len(shapes)} shape invariants")
    parts = []
    for function, is_cond in ((cond, True), (body, False)):
        inner = _Inner(graph)
        inputs = [inner.placeholder(t.core.dtype, sizes_of(s)) for t, s in zip(initial, shapes, strict=True)]
        with inner.as_default():
            arguments = like(items, [inner.wrap(t) for t in inputs])
            made = function(*arguments)
            outputs = [inner.reach(convert(v)) for v in ([made] if is_cond else _results(made, initial, shapes))]
        parts.append((inner, inputs, outputs))
    captured = list(dict.fromkeys([*parts[0][0].taken, *parts[1][0].taken]))
    attrs: dict[str, Any] = {"count": len(initial)}
    for (inner, inputs, outputs), key in zip(parts, ("cond", "body"), strict=True):
        attrs[key] = ir.Graph(inner.core.freeze().nodes, tuple(t.port for t in outputs))
        names = [t.op.name for t in inputs]
        attrs[f"{key}_inputs"] = (*names, *(inner.taken[t].op.name if t in inner.taken else "" for t in captured))
    made = graph.create("KiWhile", [*initial, *captured], attrs, "while").outputs
    found = []
    for tensor, shape in zip(made, shapes, strict=True):
        tensor.set_shape(shape)
        found.append(tensor)
    return like(items, found)


def _shapes(invariants: Any) -> list[Any]:
    if isinstance(invariants, (list, tuple)):
        return [leaf for item in invariants for leaf in _shapes(item)]
    return [invariants]


def _results(made: Any, initial: Sequence[Tensor], shapes: Sequence[TensorShape]) -> list[Any]:
    """What the body returns, held against the loop variables."""
    leaves = leaves_of(made)
    if len(leaves) != len(initial):
        raise ValueError(f"while_loop: the body returns {len(leaves)} values for {len(initial)} loop variables")
    found = []
    for i, (leaf, first, shape) in enumerate(zip(leaves, initial, shapes, strict=True)):
        tensor = convert(leaf, None if is_tensor(leaf) else first.dtype)
        if tensor.dtype != first.dtype:
            raise TypeError(
                f"while_loop: the body makes {tensor.dtype.name} of loop variable {i}, which is {first.dtype.name}"
            )
        sizes, known = sizes_of(shape), sizes_of(tensor.shape)
        fits = sizes is None or (
            known is not None
            and len(known) == len(sizes)
            and all(a in (None, b) for a, b in zip(sizes, known, strict=True))
        )
        if not fits:
            raise ValueError(
                f"Input tensor {first.name!r} enters the loop with shape {shape}, but has shape {tensor.shape} after one "
                "iteration. To allow the shape to vary across iterations, use the `shape_invariants` argument of tf.while_loop"
            )
        found.append(tensor)
    return found


# --- for their effect ------------------------------------------------------------------------------------------------------


def Print(  # noqa: N802 - TensorFlow's name
    input_: Any, data: Any, message: str | None = None, first_n: int | None = None, summarize: int | None = None,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """``input_``; a run prints ``data`` to standard error."""
    attrs = {"message": message or "", "first_n": -1 if first_n is None else first_n, "summarize": summarize or 3}
    values = {"input": input_, **{f"data_{i}": d for i, d in enumerate(data)}}
    return one(apply("KiPrint", name, values, attrs, default="Print"))


def Assert(condition: Any, data: Any, summarize: int | None = None, name: str | None = None) -> Operation:  # noqa: N802 - TensorFlow's name
    """An operation that ends a run with an InvalidArgumentError that shows ``data`` where the condition is not true."""
    known = static_value(condition)
    if known is not None and not is_tensor(condition) and not np.all(known):
        from .errors import InvalidArgumentError

        raise InvalidArgumentError(None, None, f"Expected '{condition}' to be true. Summarized data: {data}")
    values = {"condition": condition, **{f"data_{i}": d for i, d in enumerate(data)}}
    return apply("KiAssert", name, values, {"summarize": summarize or 3}, default="Assert")


def _assertion(name: str, type: str) -> Callable[..., Operation]:
    from .math import FUNCTIONS, reduce_all

    function = FUNCTIONS[type]

    def check(
        x: Any, y: Any, data: Any = None, summarize: Any = None, message: str | None = None, name: str = name
    ) -> Operation:
        with get_default_graph().name_scope(name):
            x = convert(x)
            y = convert(y, x.dtype)
            shown = data or [
                message or "",
                f"Condition x {type} y did not hold element-wise:",
                f"x ({x.name}) = ",
                x,
                f"y ({y.name}) = ",
                y,
            ]
            return Assert(reduce_all(function(x, y)), shown, summarize)

    check.__doc__ = f"Asserts {type} of all elements."
    return check


def assert_ops() -> dict[str, Callable[..., Operation]]:
    """assert_equal and its relatives, by name."""
    kinds = ("equal", "less", "less_equal", "greater", "greater_equal")
    found = {f"assert_{kind}": _assertion(f"assert_{kind}", kind) for kind in kinds}
    for sign, kind in (
        ("positive", "greater"),
        ("negative", "less"),
        ("non_negative", "greater_equal"),
        ("non_positive", "less_equal"),
    ):
        function = _assertion(f"assert_{sign}", kind)
        found[f"assert_{sign}"] = _against_zero(function)
    return found


def _against_zero(function: Callable[..., Operation]) -> Callable[..., Operation]:
    def check(x: Any, *args: Any, **kwargs: Any) -> Operation:
        x = convert(x)
        return function(x, np.zeros((), x.core.dtype), *args, **kwargs)

    return check
