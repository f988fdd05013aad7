"""Evaluates what depends on constants alone, with the reference backend.

Small results (shapes, batch-norm factors) are computed immediately. Large ones (transposed weights) become lazy literals:
they are computed when a kernel packs them and are kept nowhere else. What would take far more bytes, or far more work,
than the constants that it is made of stays in the graph and runs as ordinary steps.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import field
from functools import lru_cache
from typing import Any

import numpy as np

from ...kernels.records import dataclass
from ...kernels.tensor import TensorType
from ..evaluate import SHARED_BYTES, Fold, evaluate, shape_key
from ..ir import Graph, Key, Literal, Node, Port
from ..opdefs import DESCRIBES, OPDEFS, STRUCTURAL, NeedsValue, Site, is_small, resolve, site_of
from ..rewrite import Rewriter, infer_node

__all__ = ["fold_constants"]

Value = np.ndarray[Any, Any]

#: Bytes up to which results are computed immediately, each of them and all together.
_EAGER, _ALL_EAGER = 1 << 16, 1 << 26
#: Bytes that one fold may make, and that may be kept of all folds, however few the constants of the graph have.
_GROWTH, _KEPT = 1 << 26, 1 << 28
#: Bytes of intermediate results that all folds together may make, as a multiple of the limit of one fold; float operations
#: that count as one byte.
_WORK, _FLOPS_PER_BYTE = 16, 4
#: Counts saturate here: with shared values, each used twice by the next, they grow exponentially.
_MOST = 1 << 62


@dataclass(frozen=True, slots=True)
class _Lazy:
    """A node that is computed when it is needed: bytes of its results; its own work, and with that of its inputs."""

    kept: int
    own: int
    work: int


@dataclass(slots=True)
class _Folds:
    """What was folded so far, before the graph is edited."""

    graph: Graph
    edit: Rewriter
    #: Bytes that one fold may make: those of all constants, or a little if they are few.
    most: int
    literals: dict[Port, Literal] = field(default_factory=dict)
    lazy: dict[str, _Lazy] = field(default_factory=dict)
    #: Better known types, of what depends on constants that were folded: a Reshape by a folded shape, and what follows it.
    types: dict[Port, TensorType] = field(default_factory=dict)
    eager: int = 0

    def literal(self, port: Port) -> Literal | None:
        found = self.literals.get(port)
        return self.edit.literal(port) if found is None else found

    def type_of(self, port: Port) -> TensorType:
        literal = self.literals.get(port)
        if literal is not None:
            return literal.type
        found = self.types.get(port)
        return self.edit.type_of(port) if found is None else found

    def value(self, port: Port) -> Value | None:
        """The value of a small constant, unless computing it is much work."""
        literal = self.literal(port)
        lazy = self.lazy.get(port.node)
        if literal is None or not is_small(literal) or (lazy is not None and lazy.work > _GROWTH):
            return None
        return literal.array()


def fold_constants(graph: Graph) -> Graph:
    """Nodes whose inputs are all constants become constants; Shape, Size and Rank of known shapes too."""
    edit = Rewriter(graph)
    given = sum(node.attrs["value"].nbytes for node in graph if node.op == "Const")
    folds = _Folds(graph, edit, max(_GROWTH, given))
    for node in graph:
        if node.op not in STRUCTURAL and node.op != "PlaceholderWithDefault" and node.op in OPDEFS:
            found = _fold(folds, node)
            folds.literals.update(zip(node.ports, found or (), strict=False))
            if found is None:
                _infer(folds, node)
    _give_up_too_much(folds, given)
    read = _read(folds)
    for port, literal in folds.literals.items():
        if port not in read:
            continue
        if len(graph.nodes[port.node].outputs) == 1:
            edit.replace_by_constant(port.node, literal)
        else:
            edit.redirect(port, edit.constant(f"{port.node}/folded_{port.index}", literal))
    return edit.finish()


def _infer(folds: _Folds, node: Node) -> None:
    """Types of a node that is not folded, if one was not known and may be now: the shapes of a chain of Shape - Reshape are
    found in one pass."""
    if all(t.known for t in node.outputs) or not any(p in folds.types or p in folds.literals for p in node.inputs):
        return
    for port, old, new in zip(node.ports, node.outputs, infer_node(node, folds.type_of, folds.value), strict=False):
        if new != old:
            folds.types[port] = new


def _read(folds: _Folds) -> dict[Port, None]:
    """Ports that are read by nodes that are not folded, and the graph's outputs."""
    whole = (n for n in folds.graph if Port(n.name) not in folds.literals)
    return dict.fromkeys((*(p for n in whole for p in n.inputs), *folds.graph.outputs))


def _fold(folds: _Folds, node: Node) -> list[Literal] | None:
    """The constants that replace the outputs of a node; None if it is not folded."""
    inputs = _constant_inputs(folds, node)
    if inputs is None:
        return None
    site = site_of(node, folds.type_of, folds.value)
    if node.op in DESCRIBES:
        results = evaluate(site, ())
        return None if results is None else [Literal.of(r, shape_key(r)) for r in results]
    outputs = OPDEFS[node.op].types(site)
    if not all(t.known for t in outputs):
        return None
    size, given = sum(t.nbytes for t in outputs), sum(x.nbytes for x in {id(x): x for x in inputs}.values())
    own = _work(site, outputs)
    if own is None or size > folds.most or given > max(_KEPT, folds.most):
        return None
    small = size <= _EAGER and given <= _EAGER and own <= _GROWTH and not any(p.node in folds.lazy for p in node.inputs)
    if small and folds.eager + size <= _ALL_EAGER:
        folds.eager += size
        return _fold_at_once(site, inputs, _key(node, inputs))
    # The transposed filters of a large file are read by one kernel each: keeping them would cost as much memory again.
    shared = len(outputs) > 1 or not folds.edit.only_use(Port(node.name))
    return _fold_lazily(folds, node, Fold(site, tuple(inputs), shared=shared), outputs, own)


def _constant_inputs(folds: _Folds, node: Node) -> list[Literal] | None:
    """The inputs of a node that can be folded: all constants, if their values and not their types alone are needed."""
    literals = [folds.literal(p) for p in node.inputs]
    inputs = [x for x in literals if x is not None]
    if node.op in DESCRIBES:
        return inputs
    return None if len(inputs) < len(literals) or (not inputs and node.op != "Range") else inputs


def _key(node: Node, inputs: Sequence[Literal]) -> Key:
    """How the value came about, so that every session of a graph finds what was packed from it."""
    attrs = tuple(sorted((k, _spelled(v)) for k, v in node.attrs.items()))
    return Key("folded", node.op, attrs, tuple(x.key for x in inputs))


def _fold_at_once(site: Site, inputs: Sequence[Literal], key: Key) -> list[Literal] | None:
    results = evaluate(site, [x.array() for x in inputs])
    return None if results is None else [Literal.of(r, Key(key, i)) for i, r in enumerate(results)]


def _fold_lazily(folds: _Folds, node: Node, fold: Fold, outputs: tuple[TensorType, ...], own: int) -> list[Literal]:
    """Constants that are computed when they are read; what that takes is added up."""
    inputs, size, key = fold.inputs, sum(t.nbytes for t in outputs), _key(node, fold.inputs)
    sources = dict.fromkeys(p.node for p in node.inputs if p.node in folds.lazy)
    roots = {id(x): x.nbytes for p, x in zip(node.inputs, inputs, strict=True) if p.node not in folds.lazy}
    work = own + sum(roots.values()) + sum(folds.lazy[name].work for name in sources)
    folds.lazy[node.name] = _Lazy(size, own, min(work, _MOST))
    return [Literal.lazy(t.dtype, t.dims, fold.output(i), Key(key, i)) for i, t in enumerate(outputs)]


def _spelled(value: Any) -> Hashable:
    """An attribute in full, where repr() would leave something out."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str}{value.shape}{value.tolist()!r}"
    if isinstance(value, np.dtype):
        return _repr_of_dtype(value)
    return value.key if isinstance(value, Literal) else repr(value)


@lru_cache(256)
def _repr_of_dtype(dtype: np.dtype[Any]) -> str:
    """NumPy takes 25 us for it, and every node has one."""
    return repr(dtype)


def _work(site: Site, outputs: tuple[TensorType, ...]) -> int | None:
    """What a node's results and its arithmetic take, in bytes; None if it cannot be computed here."""
    try:
        resolved = resolve(site)
    except NeedsValue:
        return None
    made, forwarded = resolved.written(), resolved.forwarded
    if resolved.contract.dynamic or not all(i in forwarded for i in range(len(made), len(outputs))):
        return None
    flops = resolved.contract.flops(resolved.inputs, made, resolved.params)
    return min(sum(t.nbytes for t in outputs) + int(flops // _FLOPS_PER_BYTE), _MOST)


def _give_up_too_much(folds: _Folds, given: int) -> None:
    """Leaves lazy folds in the graph, if all of them together take too much, beginning with those that are read last.

    Where everything that is made on the way is kept while a plan is compiled, each value is made once.
    """
    if sum(lazy.own for lazy in folds.lazy.values()) + given <= SHARED_BYTES:
        return
    left = {"work": _WORK * folds.most, "kept": max(_KEPT, 8 * given)}
    stack: list[str] = []
    accepted: set[str] = set()
    for name in dict.fromkeys(p.node for p in _read(folds) if p.node in folds.lazy):
        lazy = folds.lazy[name]
        if lazy.work > left["work"] or lazy.kept > left["kept"]:
            stack.append(name)
        else:
            accepted.add(name)
            left["work"] -= lazy.work
            left["kept"] -= lazy.kept
    while stack:  # and what only leads to them
        node = folds.graph.nodes[stack.pop()]
        for port in node.ports:
            folds.literals.pop(port, None)
        if folds.lazy.pop(node.name, None) is not None:
            stack.extend(p.node for p in node.inputs if p.node in folds.lazy and p.node not in accepted)
