"""Ops with the channels first (NCHW) become ops with the channels last, which have kernels, between transposes.

The plan does so before any pass, because it changes what is run and not how fast; move_transposes.py removes what the
transposes cost. A node keeps its name, and a tensor that is fetched its order.
"""

from __future__ import annotations

from ..errors import UnsupportedOpError
from ..ir import Graph, Node, Port
from ..opdefs import CHANNELS, last_attrs, last_order
from .axes import Axes

__all__ = ["legalize_layouts"]


def legalize_layouts(graph: Graph) -> Graph:
    """Conv2D in NCHW  becomes  Transpose, Conv2D in NHWC, Transpose; the same for all ops that have data_format."""
    if not any(_order(graph, node) is not None for node in graph):
        return graph
    axes = _Transposed(graph)
    for node in graph:
        order = _order(graph, node)
        if order is None:
            axes.keep(node)
        elif not order:
            raise UnsupportedOpError(
                f"{node}: data_format {node.attrs['data_format']} of {graph.type_of(node.inputs[0])}, whose number of axes "
                "is not known, is not supported; give its placeholder a shape such as [None, None, None, None]"
            )
        else:
            _legalize(axes, node, order)
    return axes.finish()


class _Transposed(Axes):
    """With all transposes spelled out, so that move_transposes sees them."""

    views = False


def _order(graph: Graph, node: Node) -> tuple[int, ...] | None:
    if node.op not in CHANNELS:
        return None
    return last_order(node.op, node.attrs, graph.type_of(node.inputs[0]) if node.inputs else None)


def _legalize(axes: Axes, node: Node, order: tuple[int, ...]) -> None:
    channels = CHANNELS[node.op]
    inputs = [
        axes.get(p, order) if i in channels.inputs else axes.permuted(p, order if i in channels.sizes else None)
        for i, p in enumerate(node.inputs)
    ]
    made = axes.emit(node.name, node.op, inputs, last_attrs(node.attrs, order))
    for i, port in enumerate(node.ports):
        axes.set(port, order if i in channels.outputs else None, Port(made.name, i))
