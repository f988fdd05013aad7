"""Nodes to steps: contract, parameters, chosen kernel, device; views; copies between devices."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from ...kernels.backends import HOST_FAMILY, get_backend
from ...kernels.contracts.chains import ChainParams, parse_chain
from ...kernels.devices import HOST, Device
from ...kernels.errors import KernelError, KigraphError
from ...kernels.kernel import Kernel, Prepared, Query
from ...kernels.numerics import Numerics
from ...kernels.records import dataclass
from ...kernels.registry import Rejection, select
from ...kernels.tensor import Params, TensorType
from ...kernels.tuning import Decision, Tuner
from ..errors import GraphError, UnsupportedOpError, located, unexpected
from ..evaluate import shape_key, shape_of
from ..ir import Graph, Literal, Node, Port
from ..opdefs import DESCRIBES, Known, Resolved, resolve
from ..packed.store import ConstantStore, KernelConstants
from .draws import Streams
from .partition import Part

_LOG = logging.getLogger("kigraph")

Value = np.ndarray[Any, Any]

__all__ = ["Lowering", "Options", "Step", "device_of", "lower_part"]


def device_of(backend: str) -> Device:
    """Where the kernels of a backend (or the host family) work."""
    return HOST if backend == HOST_FAMILY else get_backend(backend).device()


@dataclass(frozen=True, slots=True)
class Options:
    """What a session decides for all of its plans: backends in order, threads, how kernels are tuned.

    numerics: what kernels may trade for speed. streams: where random ops are. inner: for a graph that is an
    attribute of a node, what runs it.
    """

    order: tuple[str, ...]
    threads: int
    store: ConstantStore
    tuner: Tuner
    numerics: Numerics = Numerics()
    streams: Streams = field(default_factory=Streams)
    #: Whether tensors between kernels are bfloat16 in memory where that pays (passes/narrow_activations.py).
    narrow: bool = False
    inner: Callable[[Graph], Callable[[Sequence[Port], Mapping[Port, Value]], list[Value]]] | None = None

    @property
    def fuses(self) -> bool:
        """Whether chains of elementwise ops become one step (passes/fuse_chains.py); none of them takes bfloat16 in memory."""
        return not self.narrow and bool(getattr(get_backend(self.order[0]).load(), "FUSES_CHAINS", False))


@dataclass(slots=True)
class Step:
    """One kernel to run, or (``kernel`` None) a copy between devices.

    ``inputs``: roots, that is ports that own memory, with the type under which the kernel sees them.
    """

    node: str
    op: str
    inputs: list[tuple[Port, TensorType]]
    outputs: list[tuple[Port, TensorType]]
    device: Device
    query: Query | None = None
    kernel: Kernel | None = None
    prepared: Prepared | None = None
    rejected: tuple[Rejection, ...] = ()
    #: For explain(): why this kernel was chosen, if not by rank; the devices of a copy; how memory.py changed the step of a
    #: concat whose inputs are written in place.
    note: str = ""
    #: How often it runs in a run of the plan: more than once where a batch is run image by image.
    images: int = 1

    @property
    def chain(self) -> tuple[str, ...]:
        """The elementwise ops that the kernel runs on its result."""
        steps = "" if self.query is None else getattr(self.query.params, "finish", "")
        return tuple(s.op for s in parse_chain(steps)) if steps else ()

    @property
    def flops(self) -> int:
        """Of all its runs."""
        q = self.query
        return 0 if q is None else self.images * q.contract.flops(q.inputs, q.outputs, q.params)

    @property
    def bytes_moved(self) -> int:
        """Of all its runs."""
        q = self.query
        once = 2 * self.inputs[0][1].nbytes if q is None else q.contract.bytes_moved(q.inputs, q.outputs)
        return self.images * once


@dataclass(slots=True)
class Lowering:
    """All steps of a stage and what they work on."""

    steps: list[Step] = field(default_factory=list)
    types: dict[Port, TensorType] = field(default_factory=dict)
    #: A port without memory of its own -> the port whose memory it is, which has its own.
    views: dict[Port, Port] = field(default_factory=dict)
    view_nodes: list[Node] = field(default_factory=list)
    literals: dict[Port, Literal] = field(default_factory=dict)
    #: The device where a root is.
    home: dict[Port, Device] = field(default_factory=dict)
    #: What the stage gets from outside.
    inputs: frozenset[Port] = frozenset()

    def root(self, port: Port) -> Port:
        """The port whose memory a port is: itself, unless it is a view."""
        return self.views.get(port, port)


def lower_part(
    graph: Graph,
    part: Part,
    types: Mapping[Port, TensorType],
    values: Mapping[Port, np.ndarray[Any, Any]],
    options: Options,
) -> Lowering:
    """``types`` of all inputs of the part (known shapes); ``values`` of those that decide shapes."""
    result = Lowering(types=dict(types), inputs=frozenset(types))
    known = Known(result.types, dict(values))
    for node in part.nodes:
        for port in node.inputs:
            literal = graph.literal(port)
            if literal is not None and port not in result.literals:
                result.literals[port] = literal
                known.add(port, literal)
        _lower_node(result, node, known, options)
    for port in part.outputs:
        _require_made(result, result.root(port), graph.nodes[port.node])
    return result


def _lower_node(result: Lowering, node: Node, known: Known, options: Options) -> None:
    site = known.site(node)
    if node.op in DESCRIBES:  # constants, now that the input's type is known
        value = shape_of(node.op, site)
        assert value is not None
        literal = Literal.of(value, shape_key(value))
        result.literals[Port(node.name)], result.types[Port(node.name)] = literal, literal.type
        return
    resolved = resolve(site)
    outputs = resolved.outputs()
    result.types.update(zip(node.ports, outputs, strict=False))
    for output, source in resolved.forwarded.items():
        result.views[Port(node.name, output)] = result.root(node.inputs[source])
    ports = resolved.pick(node.inputs)
    if resolved.contract.view:
        (viewed,) = resolved.written()
        if not outputs[0].known:  # a PlaceholderWithDefault may state less than its default has
            result.types[Port(node.name)] = viewed
        result.views[Port(node.name)] = result.root(ports[0])
        result.view_nodes.append(node)
        return
    step = _choose(result, node, ports, resolved, options)
    result.steps.append(step)
    for (port, kernel_type), node_type in zip(step.outputs, outputs, strict=False):
        if kernel_type.size != node_type.size:
            raise GraphError(f"{node}: the kernel gives {kernel_type}, the op {node_type}")
        result.home[port] = step.device


def _choose(result: Lowering, node: Node, ports: Sequence[Port], resolved: Resolved, options: Options) -> Step:
    inputs, outputs = resolved.inputs, resolved.written()
    roots = [result.root(p) for p in ports]
    constant = {i: result.literals[r] for i, r in enumerate(roots) if r in result.literals and r == ports[i]}
    query = Query(
        resolved.contract, inputs, outputs, resolved.params, frozenset(constant), options.threads, options.numerics
    )

    def prefer(query: Query, legal: Sequence[Kernel]) -> tuple[Kernel, str] | None:
        weights = KernelConstants(legal[0], constant, options.store)
        decision: Decision | None = options.tuner.decide(query, legal, weights)
        return None if decision is None else (decision.kernel, str(decision))

    try:
        selection = select(query, options.order, prefer)
    except KernelError as error:
        raise KernelError(f"{node}: {error}") from None
    kernel = selection.kernel
    if kernel.backend not in (options.order[0], HOST_FAMILY):
        _LOG.info("%s runs on %s: %s", node, kernel, "; ".join(map(str, selection.rejected)))
    device = device_of(kernel.backend)
    assert kernel.prepare is not None
    try:
        prepared = kernel.prepare(query, KernelConstants(kernel, constant, options.store))
    except KigraphError as error:  # such as no memory for packed weights
        raise located(error, node.op, node.name) from error.__cause__
    except Exception as error:
        raise unexpected(error, node.op, node.name, f"cannot be prepared for kernel {kernel}") from error
    used = [
        (Port("", 0) if i in prepared.absorbed else _on(result, root, device, node), t)
        for i, (root, t) in enumerate(zip(roots, inputs, strict=True))
    ]
    return Step(
        node.name, node.op, used, list(zip(node.ports, outputs, strict=False)), device, query, kernel, prepared,
        selection.rejected, _note(selection.reason, resolved.params),
    )  # fmt: skip


def _note(reason: str, params: Params) -> str:
    """Why the kernel was chosen, and the chain of elementwise ops that is part of the step."""
    finish = getattr(params, "finish", "")
    chain = params.steps if isinstance(params, ChainParams) else f"then {finish}" if finish else ""
    return "; ".join(filter(None, (reason, chain)))


def _require_made(result: Lowering, root: Port, reader: Node) -> None:
    if root not in result.literals and root not in result.home and root not in result.inputs:
        raise UnsupportedOpError(f"{reader}: kigraph does not compute '{root}'; feed it, or do without")


def _on(result: Lowering, root: Port, device: Device, node: Node) -> Port:
    """The root itself if it is on the device, else a copy of it there, made by a step that explain() shows."""
    if root in result.literals:
        return root
    _require_made(result, root, node)
    home = result.home.setdefault(root, device)  # an input of the stage is on the device that uses it first
    if home.name == device.name:
        return root
    copy = Port(f"{root}@{device.name}")
    if copy not in result.home:
        t = result.types[root]
        result.types[copy] = t
        result.home[copy] = device
        result.steps.append(
            Step(f"{root}", "Copy", [(root, t)], [(copy, t)], device, note=f"{home.name} -> {device.name}")
        )
    return copy
