"""A batch as images: where item n of every result depends on item n of every input alone, whole images are run.

One image needs less memory than a batch, so more of it stays in the caches, and threads that work on different images never
wait for each other. Inception v3, batch 8, two threads: see docs/performance-log.md. The result of an image is the same.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...kernels.backends import HOST_FAMILY, get_backend
from ...kernels.devices import HOST
from ...kernels.errors import KigraphError
from ...kernels.types import TensorType
from ..ir import Graph, Port
from ..opdefs import opdef
from .lowering import Options
from .partition import Part, site_of
from .stage import DynamicStage, Stage, Timed, compile_stage

__all__ = ["Images", "Work", "compile_part", "work_per_image"]

Value = np.ndarray[Any, Any]

#: Float operations of an image from which it is worth a run of its own; and per byte of weights, which every image reads.
_LEAST_FLOPS, _FLOPS_PER_BYTE = 1e8, 20.0


@dataclass(frozen=True, slots=True)
class Work:
    """Of a part that works image by image: how many, the types of what each of them has, its float operations and weights."""

    images: int
    types: Mapping[Port, TensorType]
    flops: int
    weight_bytes: int

    @property
    def pays(self) -> bool:
        """Whether an image is enough work for a run of its own."""
        return self.flops >= max(_LEAST_FLOPS, _FLOPS_PER_BYTE * self.weight_bytes)


def work_per_image(graph: Graph, part: Part, types: Mapping[Port, TensorType]) -> Work | None:
    """What one image asks for, or None where results may mix images, there is only one, or no contract says so."""
    counts = {t.dims[0] if t.known and t.dims else 0 for t in (types[p] for p in part.inputs)}
    if len(counts) != 1 or part.values or (images := counts.pop()) < 2:
        return None
    items: dict[Port, TensorType] = {p: types[p] for p in part.inputs}
    known, values = dict(types), {}
    flops = weights = 0
    for node in part.nodes:
        for port in node.inputs:
            if port not in known and (literal := graph.literal(port)) is not None:
                known[port] = literal.type
                if literal.nbytes <= 1 << 16:
                    values[port] = literal.array()
        if not all(p in known for p in node.inputs) or node.op in ("Shape", "Size", "Rank"):
            return None
        definition, site = opdef(node.op, node.name), site_of(node, known, values)
        lowered, outputs = definition.lowered(site), definition.types(site)
        if not all(t.known for t in outputs):
            return None
        picked = range(len(node.inputs)) if lowered.inputs is None else lowered.inputs
        ports = [node.inputs[i] for i in picked]
        inputs = [known[p] for p in ports]
        which = frozenset(i for i, p in enumerate(ports) if p in items)
        others = [p for i, p in enumerate(ports) if i not in which]
        by_item = lowered.contract.by_item
        if not which or by_item is None or any(graph.literal(p) is None for p in others):
            return None
        if not by_item(inputs, lowered.params, which):
            return None
        made = lowered.contract.check(inputs, lowered.params)
        flops += lowered.contract.flops(inputs, made, lowered.params)
        weights += sum(known[p].nbytes for p in others)
        handed_on = definition.hands_on(node.attrs)
        for number, (port, t) in enumerate(zip(node.ports, outputs, strict=False)):
            known[port] = t
            if number not in handed_on:
                items[port] = t
    if not all(p in items and items[p].dims[:1] == (images,) for p in part.outputs):
        return None
    one = {p: TensorType(t.dtype, (1, *t.dims[1:])) for p, t in items.items()}
    return Work(images, one, flops // images, weights)


@dataclass(slots=True)
class Images:
    """A part for a batch, run image by image: each thread takes the next one. What is left over runs as a smaller batch.

    ``one``: the part for one image on one thread; ``alone``: how many images run so. ``rest``: the part for the others, on
    all threads. In a profiled run the calling thread's images are measured; their steps count the work of all.
    """

    part: Part
    one: Stage
    alone: int
    threads: int
    rest: Stage | None

    @property
    def stages(self) -> tuple[Stage, ...]:
        return (self.one,) if self.rest is None else (self.one, self.rest)

    @property
    def arena_bytes(self) -> int:
        """Memory for activations of one run."""
        return self.one.arena_bytes * self.threads + (0 if self.rest is None else self.rest.arena_bytes)

    def run(self, inputs: Mapping[Port, Value], profile: list[Timed] | None = None) -> dict[Port, Value]:
        """The part's outputs as fresh host arrays."""
        images = next(iter(inputs.values())).shape[0]
        types = self.one.lowering.types
        results = {p: np.empty((images, *types[p].dims[1:]), types[p].dtype) for p in self.part.outputs}
        measured: list[list[Timed]] = []

        def work(image: int, thread: int) -> None:
            timed: list[Timed] | None = [] if profile is not None and thread == 0 else None
            made = self.one.run(_images(inputs, image, image + 1), timed)
            for port, value in made.items():
                results[port][image] = value[0]
            if timed is not None:
                measured.append(timed)

        _side_by_side(work, self.alone, self.threads, evenly=profile is not None)
        if profile is not None:
            profile += _added_up(measured)
        if self.rest is not None:
            made = self.rest.run(_images(inputs, self.alone, images), profile)
            for port, value in made.items():
                results[port][self.alone :] = value
        return results


def _images(inputs: Mapping[Port, Value], first: int, end: int) -> dict[Port, Value]:
    return {port: value[first:end] for port, value in inputs.items()}


def _added_up(runs: Sequence[Sequence[Timed]]) -> list[Timed]:
    """The same steps of several images as one each."""
    return [Timed(t[0].step, t[0].start, sum(x.seconds for x in t)) for t in zip(*runs, strict=True)]


def _side_by_side(work: Callable[[int, int], None], count: int, threads: int, *, evenly: bool) -> None:
    """work(i, thread) for 0 <= i < count, on the caller (thread 0) and threads - 1 others; raises the first error.

    evenly: each thread has the same share; else it takes what comes next.
    """
    queue = iter(range(count))
    errors: list[BaseException] = []

    def loop(thread: int) -> None:
        try:
            for i in range(thread, count, threads) if evenly else queue:  # next() on a range's iterator is atomic
                if errors:
                    return
                work(i, thread)
        except BaseException as error:  # the caller raises it
            errors.append(error)

    others = [threading.Thread(target=loop, args=(n,), name=f"kigraph-images-{n}") for n in range(1, threads)]
    for other in others:
        other.start()
    loop(0)
    for other in others:
        other.join()
    if errors:
        raise errors[0]


def compile_part(
    graph: Graph,
    part: Part,
    types: Mapping[Port, TensorType],
    values: Mapping[Port, Value],
    options: Options,
) -> Stage | DynamicStage | Images:
    """As ``compile_stage``; a part for a batch that pays image by image becomes Images."""
    if options.split_batch and part.static and not part.dynamic and _first(options).keeps_to_threads():
        try:
            work = work_per_image(graph, part, types)
            if work is not None and work.pays and work.images >= options.threads:
                split = _split(graph, part, work, options)
                if split is not None:
                    return split
        except KigraphError:
            pass  # a shape has the number of images in it: whole, it fits, or its error says what is wrong
    return compile_stage(graph, part, types, values, options)


def _split(graph: Graph, part: Part, work: Work, options: Options) -> Images | None:
    rest = work.images % options.threads

    def stage(images: int, threads: int) -> Stage:
        sizes = {p: TensorType(t.dtype, (images, *t.dims[1:])) for p, t in work.types.items()}
        made = compile_stage(graph, part, {p: sizes[p] for p in part.inputs}, {}, replace(options, threads=threads))
        assert isinstance(made, Stage)
        if any(made.lowering.types[p].dims != t.dims for p, t in sizes.items() if p in made.lowering.types):
            raise KigraphError("the sizes of a part do not follow those of its inputs")
        return made

    one = stage(1, 1)
    for step in one.lowering.steps:
        backend = step.kernel.backend if step.kernel is not None else HOST_FAMILY
        if step.device.name != HOST.name or (backend != HOST_FAMILY and not get_backend(backend).keeps_to_threads()):
            return None
        step.images = work.images - rest
    one.keep = max(one.keep, options.threads)
    return Images(part, one, work.images - rest, options.threads, stage(rest, options.threads) if rest else None)


def _first(options: Options) -> Any:
    """The first backend of the order that can be used."""
    return next(b for b in map(get_backend, options.order) if b.status().available)
