"""The end of a network whose weights take longer to arrive than to be multiplied with an image: a batch runs it as one.

Narrow products are so fast that the last layers of a network wait for their weights: at 8x8 pixels Inception v3 reads 22 MB
as bfloat16. The layers before run image by image (images.py), these once for all images. In float32 that is a dense layer: with
1,000 classes MobileNet v2's takes 0.26 ms for one image, and 0.36 for eight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...kernels.errors import KigraphError
from ...kernels.tensor import TensorType
from ..ir import Graph, Port
from ..opdefs import Known, NeedsValue
from .images import image_by_image, is_narrow, work_of_node, work_per_image
from .lowering import Options
from .partition import Part

__all__ = ["divide"]

#: Float operations per byte of weights below which an image waits for them (AMX does 2,000 while one byte arrives at 15 GB/s: 130).
_LEAST_FLOPS_PER_BYTE = 150.0
#: The same in float32, where a layer of 7x7 pixels does 24 and multiplies longer than it waits.
_LEAST_FLOPS_PER_BYTE_F32 = 4.0
#: Bytes of weights that are worth a stage of its own, and that arrive at once (a bias).
_LEAST_BYTES, _SMALL_BYTES = 1 << 20, 1 << 16


def divide(
    graph: Graph, parts: tuple[Part, ...], types: Mapping[Port, TensorType], options: Options
) -> tuple[Part, ...]:
    """The parts, one whose images would wait for the weights of its last layers divided before these.

    types: of what is fed.
    """
    if len(parts) != 1:
        return parts
    (part,) = parts
    given = {p: types.get(p, graph.type_of(p)) for p in part.inputs}
    try:
        work = work_per_image(graph, part, given)
        if work is None:
            return parts
        at = _first_late(graph, part, given, options.numerics.precision)
        if not 0 < at < len(part.nodes):
            return parts
        divided = _divided(part, at)
        early = work_per_image(graph, divided[0], given)
        if early is None or not early.pays or not image_by_image(divided[0], early, options):
            return parts
    except (KigraphError, NeedsValue):  # whoever compiles the part says what is wrong
        return parts
    return divided if work.pays or early.light or is_narrow(part, options) else parts


def _first_late(graph: Graph, part: Part, given: Mapping[Port, TensorType], precision: str) -> int:
    """The number of the first node after which all weights are waited for, or 0 if they are not worth it."""
    known, items = Known(dict(given), {}), dict(given)
    images = next(iter(given.values())).dims[0]
    first, late = 0, 0.0
    for number, node in enumerate(part.nodes):
        known.add_literals(graph, node)
        work = work_of_node(graph, node, known, items)
        assert work is not None  # each image has its own work
        weights = [
            t for p in node.inputs if (t := known.types[p]) is not None and p not in items and t.dtype.kind in "if"
        ]
        narrow = precision == "bf16" or any(t.dtype.itemsize == 1 for t in weights)
        held = sum(t.nbytes / (2 if precision == "bf16" and t.dtype.kind == "f" else 1) for t in weights)
        least = _LEAST_FLOPS_PER_BYTE if narrow else _LEAST_FLOPS_PER_BYTE_F32
        waits = work[0] / images <= least * max(held, _SMALL_BYTES)
        if not waits or not (
            late or held
        ):  # what comes before the first weights stays with the image: a mean of its pixels
            first, late = number + 1, 0.0
        else:
            late += held
    return first if late >= _LEAST_BYTES else 0


def _divided(part: Part, at: int) -> tuple[Part, Part]:
    early, late = part.nodes[:at], part.nodes[at:]
    made = dict.fromkeys(p for n in early for p in n.ports)
    read = dict.fromkeys(p for n in late for p in n.inputs if p in made)
    crossing = tuple(p for p in made if p in read or p in part.outputs)
    inputs = dict.fromkeys(p for n in late for p in n.inputs if p in made or p in part.inputs)
    return (
        replace(
            part,
            nodes=early,
            inputs=tuple(p for p in part.inputs if any(p in n.inputs for n in early)),
            outputs=crossing,
        ),
        replace(
            part,
            nodes=late,
            inputs=tuple(inputs),
            outputs=tuple(p for p in part.outputs if p not in made),
            together=True,
        ),
    )
