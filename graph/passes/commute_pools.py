"""Moves average pooling after the 1x1 convolution that reads it, where that leaves fewer channels to pool.

Both are linear and one works along channels, the other along the image, so they commute; bias and activation come last. A
bias added before pooling would be right only where the window is inside the image.
"""

from __future__ import annotations

from math import prod
from typing import Any

from ...kernels.tensor import is_float
from ..ir import Graph, Node, Port
from ..rewrite import Rewriter

__all__ = ["commute_pools", "is_pointwise"]

_POOL_ATTRS = ("ksize", "strides", "padding", "explicit_paddings", "data_format", "count_include_pad")


def is_pointwise(edit: Rewriter, node: Node) -> bool:
    """True for a convolution, fused or not, that is 1x1 with stride 1 and without padding."""
    if node.op not in ("Conv2D", "KiFusedConv2D") or not is_float(node.outputs[0].dtype):
        return False
    shape = edit.type_of(node.inputs[1]).shape
    attrs = node.attrs
    return (
        shape is not None
        and shape[:2] == (1, 1)
        and None not in shape
        and tuple(attrs.get("strides", ())) == (1, 1, 1, 1)
        and attrs.get("padding") in ("VALID", "SAME")
        and attrs.get("data_format", "NHWC") == "NHWC"
    )


def commute_pools(graph: Graph) -> Graph:
    """AvgPool -> 1x1 convolution  becomes  1x1 convolution -> AvgPool with bias and activation."""
    edit = Rewriter(graph)
    for original in graph:
        node = edit.node(original.name)
        if is_pointwise(edit, node) and edit.only_use(node.inputs[0]):
            pool = edit.source(node.inputs[0])
            if (
                pool.op == "AvgPool"
                and tuple(pool.attrs.get("strides", ())) == (1, 1, 1, 1)
                and _pays(edit, pool, node)
            ):
                _commute(edit, pool, node)
    return edit.finish()


def _commute(edit: Rewriter, pool: Node, conv: Node) -> None:
    linear = {k: v for k, v in conv.attrs.items() if k != "activation"}
    name = edit.fresh(f"{conv.name}/before_pool")
    edit.put(name, "Conv2D", (pool.inputs[0], conv.inputs[1]), linear)
    attrs: dict[str, Any] = {k: pool.attrs[k] for k in _POOL_ATTRS if k in pool.attrs}
    if "T" in pool.attrs:
        attrs["T"] = pool.attrs["T"]
    attrs["activation"] = conv.attrs.get("activation", "none")
    edit.put(conv.name, "KiFusedAvgPool", (Port(name), *conv.inputs[2:]), attrs)


def _pays(edit: Rewriter, pool: Node, conv: Node) -> bool:
    """Fewer channels to pool, and not many more pixels to convolve (a pool without padding shrinks the image)."""
    cin, cout = edit.type_of(conv.inputs[1]).dims[2:]
    if cout > cin or conv.outputs[0].dtype.itemsize < 4:
        return False
    if pool.attrs.get("padding") == "SAME":
        return True
    before, after = (edit.type_of(p).shape for p in (pool.inputs[0], conv.inputs[0]))
    if before is None or after is None or None in (*before[1:3], *after[1:3]):
        return False
    area = prod(d for d in before[1:3] if d is not None), prod(d for d in after[1:3] if d is not None)
    more = (area[0] - area[1]) * 2 * cin * cout
    return bool(more <= area[1] * prod(pool.attrs["ksize"]) * (cin - cout))
