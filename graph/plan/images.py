"""A batch on one thread: where item n of every result depends on item n of every input alone, images run one by one.

An image needs less memory than a batch, so more of it stays in the caches: Inception v3, batch 8, direct convolutions, takes
2 to 4 % less time, and a fraction of the memory. Several threads gain more from a batch: they read the weights once for all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ...kernels.backends import get_backend
from ...kernels.devices import HOST
from ...kernels.errors import KigraphError
from ...kernels.records import dataclass
from ...kernels.tensor import TensorType
from ..errors import GraphError
from ..ir import Graph, Node, Port
from ..opdefs import DESCRIBES, Known, NeedsValue, resolve
from .lowering import Lowering, Options
from .partition import Part
from .stage import DynamicStage, Stage, Timed, compile_stage

__all__ = ["Images", "Work", "compile_part", "on_host", "work_of_node", "work_per_image"]

Value = np.ndarray[Any, Any]

_LOG = logging.getLogger("kigraph")

#: Least float operations of an image that is worth a run of its own: in all, and per byte of its memory-bound weights.
_LEAST_FLOPS, _FLOPS_PER_BYTE = 1e8, 500.0
#: An op with fewer float operations per byte of weights and image is memory-bound (a dense layer of float32 has 0.5).
_MEMORY_BOUND = 16.0


@dataclass(frozen=True, slots=True)
class Work:
    """Of a part that works image by image: the number of images, the types of one image's ports, its float operations, and
    the bytes of weights of its memory-bound ops, which every image would read and a batch reads once."""

    images: int
    types: Mapping[Port, TensorType]
    flops: int
    memory_bound_bytes: int

    @property
    def pays(self) -> bool:
        """Whether an image is enough work for a run of its own."""
        return self.flops >= max(_LEAST_FLOPS, _FLOPS_PER_BYTE * self.memory_bound_bytes)


def work_per_image(graph: Graph, part: Part, types: Mapping[Port, TensorType]) -> Work | None:
    """The work of one image, or None where results may mix images, there is only one, or no contract says so."""
    counts = {t.dims[0] if t.known and t.dims else 0 for t in (types[p] for p in part.inputs)}
    if len(counts) != 1 or part.values or (images := counts.pop()) < 2:
        return None
    known, items = Known(dict(types), {}), {p: types[p] for p in part.inputs}
    flops = memory_bound = 0
    for node in part.nodes:
        known.add_literals(graph, node)
        work = work_of_node(graph, node, known, items)
        if work is None:
            return None
        flops += work[0]
        memory_bound += work[1] if work[0] < _MEMORY_BOUND * work[1] * images else 0
    if not all(p in items and items[p].dims[:1] == (images,) for p in part.outputs):
        return None
    one = {p: TensorType(t.dtype, (1, *t.dims[1:])) for p, t in items.items()}
    return Work(images, one, flops // images, memory_bound)


def work_of_node(graph: Graph, node: Node, known: Known, items: dict[Port, TensorType]) -> tuple[int, int] | None:
    """Float operations of a node and bytes of its weights, or None if its results may mix images.

    Adds its outputs to what is known and, unless they are forwarded, to ``items``, the ports with an item for each image.
    """
    if node.op in DESCRIBES or not all(p in known.types for p in node.inputs):
        return None
    resolved = resolve(known.site(node))
    inputs, ports, outputs = resolved.inputs, resolved.pick(node.inputs), resolved.outputs()
    if not all(t.known for t in outputs):
        return None
    which = frozenset(i for i, p in enumerate(ports) if p in items)
    weights = [p for p in ports if p not in items]
    by_item = resolved.contract.by_item
    if not which or by_item is None or any(graph.literal(p) is None for p in weights):
        return None
    written = resolved.written()
    if not by_item(inputs, resolved.params, which):
        return None
    forwarded = resolved.forwarded
    for number, (port, t) in enumerate(zip(node.ports, outputs, strict=False)):
        known.types[port] = t
        if number not in forwarded:
            items[port] = t
    return resolved.contract.flops(inputs, written, resolved.params), sum(known.types[p].nbytes for p in weights)


@dataclass(slots=True)
class Images:
    """A part for a batch, run image by image. ``one``: the part for one image; its steps count the work of all ``count``."""

    part: Part
    one: Stage
    count: int

    @property
    def lowering(self) -> Lowering:
        """The steps, once for all images."""
        return self.one.lowering

    @property
    def arena_bytes(self) -> int:
        """Memory for activations of one run."""
        return self.one.arena_bytes

    def run(
        self,
        inputs: Mapping[Port, Value],
        profile: list[Timed] | None = None,
        loans: list[Callable[[], None]] | None = None,
    ) -> dict[Port, Value]:
        """The part's outputs as fresh host arrays."""
        types = self.one.lowering.types
        results = {p: np.empty((self.count, *types[p].dims[1:]), types[p].dtype) for p in self.part.outputs}
        measured: list[list[Timed]] = []
        for image in range(self.count):
            timed: list[Timed] | None = None if profile is None else []
            made = self.one.run({port: value[image : image + 1] for port, value in inputs.items()}, timed)
            for port, value in made.items():
                results[port][image] = value[0]
            if timed is not None:
                measured.append(timed)
        if profile is not None:  # each step once, as if all images had gone through it together
            at = measured[0][0].start
            for times in zip(*measured, strict=True):
                seconds = sum(t.seconds for t in times)
                profile.append(Timed(times[0].step, at, seconds))
                at += seconds
        return results


def compile_part(
    graph: Graph,
    part: Part,
    types: Mapping[Port, TensorType],
    values: Mapping[Port, Value],
    options: Options,
    bound: Collection[Port] = (),
    lent: Collection[Port] = (),
) -> Stage | DynamicStage | Images:
    """As ``compile_stage``; on one thread of main memory's processor, a batch whose images pay becomes Images."""
    if options.threads == 1 and part.static and not part.together and on_host(options):
        try:
            work = work_per_image(graph, part, types)
            if work is not None and work.pays:
                return _split(graph, part, work, options)
        except (KigraphError, NeedsValue) as error:  # the whole batch fits, or its own error says what is wrong
            _LOG.debug("a batch is not run image by image: %s", error)
    return compile_stage(graph, part, types, values, options, bound, lent)


def _split(graph: Graph, part: Part, work: Work, options: Options) -> Images:
    one = compile_stage(graph, part, {p: work.types[p] for p in part.inputs}, {}, options)
    assert isinstance(one, Stage)
    if any(one.lowering.types[p].dims != t.dims for p, t in work.types.items() if p in one.lowering.types):
        raise GraphError("the sizes of a part do not follow those of its inputs")
    for step in one.lowering.steps:
        step.images = work.images
        step.note = "; ".join(filter(None, (step.note, f"{work.images} images")))
    return Images(part, one, work.images)


def on_host(options: Options) -> bool:
    """Whether the first backend that can be used works on main memory."""
    first = next((b for b in map(get_backend, options.order) if b.status().available), None)
    return first is not None and first.device().name == HOST.name
