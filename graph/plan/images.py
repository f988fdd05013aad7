"""A batch on one thread: where item n of every result depends on item n of every input alone, images run one by one.

An image needs less memory than a batch, so more of it stays in the caches: Inception v3, batch 8, direct convolutions, takes
2 to 4 % less time, and a fraction of the memory. Several threads gain more from a batch: they read the weights once for all.
But narrow products (bfloat16, bytes) are so fast that they wait for the activations of a batch: there each thread takes images,
as in a network with few weights (MobileNet v1 and v2, batch 8, two threads: 4 to 15 % less time).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
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
from ..quantized import has_quantized
from .compiling import compile_stage
from .context import Timed
from .lowering import Lowering, Options
from .partition import Part
from .stage import DynamicStage, Stage

__all__ = ["Images", "Work", "compile_part", "image_by_image", "is_narrow", "on_host", "work_of_node", "work_per_image"]

Value = np.ndarray[Any, Any]

_LOG = logging.getLogger("kigraph")

#: Least float operations of an image that is worth a run of its own: in all, and per byte of its memory-bound weights.
_LEAST_FLOPS, _FLOPS_PER_BYTE = 1e8, 500.0
#: An op with fewer float operations per byte of weights and image is memory-bound (a dense layer of float32 has 0.5).
_MEMORY_BOUND = 16.0
#: Bytes of weights per byte of activations up to which an image gains more from the caches than a batch from weights that are
#: read once (one thread, batch 8: MobileNet v2 0.31, 16 % less time by image; v1 0.62, 12 % less; VGG-16 0.97, 16 % more).
_LIGHT = 0.8


@dataclass(frozen=True, slots=True)
class Work:
    """Of a part that works image by image: the number of images, the types of one image's ports, its float operations, and
    the bytes of all weights and of those of memory-bound ops, which every image would read and a batch reads once."""

    images: int
    types: Mapping[Port, TensorType]
    flops: int
    weight_bytes: int
    memory_bound_bytes: int

    @property
    def pays(self) -> bool:
        """Whether an image is enough work for a run of its own."""
        return self.flops >= max(_LEAST_FLOPS, _FLOPS_PER_BYTE * self.memory_bound_bytes)

    @property
    def light(self) -> bool:
        """Whether an image's activations outweigh the weights that it reads."""
        return self.weight_bytes <= _LIGHT * sum(t.nbytes for t in self.types.values())


def work_per_image(graph: Graph, part: Part, types: Mapping[Port, TensorType]) -> Work | None:
    """The work of one image, or None where results may mix images, there is only one, or no contract says so."""
    counts = {t.dims[0] if t.known and t.dims else 0 for t in (types[p] for p in part.inputs)}
    if len(counts) != 1 or part.values or (images := counts.pop()) < 2:
        return None
    known, items = Known(dict(types), {}), {p: types[p] for p in part.inputs}
    flops = weights = memory_bound = 0
    for node in part.nodes:
        known.add_literals(graph, node)
        work = work_of_node(graph, node, known, items)
        if work is None:
            return None
        flops += work[0]
        weights += work[1]
        memory_bound += work[1] if work[0] < _MEMORY_BOUND * work[1] * images else 0
    if not all(p in items and items[p].dims[:1] == (images,) for p in part.outputs):
        return None
    one = {p: TensorType(t.dtype, (1, *t.dims[1:])) for p, t in items.items()}
    return Work(images, one, flops // images, weights, memory_bound)


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
    """A part for a batch, run image by image. ``one``: the part for one image; its steps count the work of all ``count``.

    ``lanes``: threads that take images; a profiled run uses one, so that its steps do not overlap.
    """

    part: Part
    one: Stage
    count: int
    lanes: int = 1

    @property
    def lowering(self) -> Lowering:
        """The steps, once for all images."""
        return self.one.lowering

    @property
    def arena_bytes(self) -> int:
        """Memory for activations of one run: of an image for each lane."""
        return self.one.arena_bytes * self.lanes

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
        numbers = iter(range(self.count))  # next() is atomic: who is ready takes the next image

        def take() -> None:
            for image in numbers:
                timed: list[Timed] | None = None if profile is None else []
                made = self.one.run({port: value[image : image + 1] for port, value in inputs.items()}, timed)
                for port, value in made.items():
                    results[port][image] = value[0]
                if timed is not None:
                    measured.append(timed)

        _together(take, self.lanes if profile is None else 1)
        if profile is not None:  # each step once, as if all images had gone through it together
            at = measured[0][0].start
            for times in zip(*measured, strict=True):
                seconds = sum(t.seconds for t in times)
                profile.append(Timed(times[0].step, at, seconds))
                at += seconds
        return results


def _together(take: Callable[[], None], lanes: int) -> None:
    """Calls a function on the caller's thread and ``lanes`` - 1 others; the first error of any is raised when all have ended."""
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            take()
        except BaseException as error:  # raised on the caller's thread
            errors.append(error)

    others: list[threading.Thread] = []
    try:
        for _ in range(lanes - 1):
            thread = threading.Thread(target=guarded, name="kigraph-images", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system has no more threads: fewer do it, too
                break
            others.append(thread)
        guarded()
    finally:
        for thread in others:
            thread.join()
    if errors:
        raise errors[0]


def is_narrow(part: Part, options: Options) -> bool:
    """Whether products are of bfloat16 or bytes."""
    return options.numerics.precision == "bf16" or has_quantized(n.op for n in part.nodes)


def image_by_image(part: Part, work: Work, options: Options) -> bool:
    """Whether images may run one by one: on one thread, or narrow or light ones on several that can share them evenly."""
    if not part.static or part.together or not on_host(options):
        return False
    if options.threads == 1:
        return True
    rounds = -(-work.images // options.threads)
    side_by_side = getattr(get_backend(options.order[0]).load(), "IMAGES_SIDE_BY_SIDE", False)
    if not side_by_side or rounds * options.threads > 1.15 * work.images:
        return False
    return work.light or is_narrow(part, options)


def compile_part(
    graph: Graph,
    part: Part,
    types: Mapping[Port, TensorType],
    values: Mapping[Port, Value],
    options: Options,
    bound: Collection[Port] = (),
    lent: Collection[Port] = (),
) -> Stage | DynamicStage | Images:
    """As ``compile_stage``; a batch whose images pay becomes Images."""
    if part.static and not part.together:
        try:
            work = work_per_image(graph, part, types)
            if work is not None and work.pays and image_by_image(part, work, options):
                return _split(graph, part, work, options)
        except (KigraphError, NeedsValue) as error:  # the whole batch fits, or its own error says what is wrong
            _LOG.debug("a batch is not run image by image: %s", error)
    return compile_stage(graph, part, types, values, options, bound, lent)


def _split(graph: Graph, part: Part, work: Work, options: Options) -> Images:
    alone = replace(options, threads=1)
    one = compile_stage(graph, part, {p: work.types[p] for p in part.inputs}, {}, alone)
    assert isinstance(one, Stage)
    if any(one.lowering.types[p].dims != t.dims for p, t in work.types.items() if p in one.lowering.types):
        raise GraphError("the sizes of a part do not follow those of its inputs")
    for step in one.lowering.steps:
        step.images = work.images
        lanes = f", {options.threads} at once" if options.threads > 1 else ""
        step.note = "; ".join(filter(None, (step.note, f"{work.images} images{lanes}")))
    one.keeps = max(one.keeps, options.threads)
    return Images(part, one, work.images, options.threads)


def on_host(options: Options) -> bool:
    """Whether the first backend that can be used works on main memory."""
    first = next((b for b in map(get_backend, options.order) if b.status().available), None)
    return first is not None and first.device().name == HOST.name
