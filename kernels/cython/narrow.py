"""bfloat16 kernels of convolutions and constant matrix products; the C side is c/dot.h.

x and y are float32 in memory or bfloat16. The operands are rounded to bfloat16 as they are copied, the sums are float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..composites import SiblingConstants, single_query
from ..contracts.conv2d import CONV2D, Conv2DParams
from ..contracts.geometry import ACTIVATION_LIMITS, WindowGeometry
from ..contracts.matmul import MATMUL, MatMulParams
from ..contracts.precisions import PRODUCT_TOLERANCES
from ..contracts.siblings import SIBLING_CONV2D, Place, SiblingParams, places
from ..kernel import Constants, Kernel, Query, Run
from ..records import dataclass
from ..tensor import BFLOAT16, Array
from . import core
from .dot import Dot, most_products
from .support import FLOAT32

__all__ = ["KERNELS", "DotAxis", "PreparedDots", "axes_of"]

DotAxis = tuple[int, int, int, int, int, int]
#: The first layer of a network of images: its rounding alone was a third of the error of Inception v3's scores, and its products
#: can be nearly exact for the time of three (it has 27 inputs).
_FEW_INPUTS = 64
#: A measured time belongs to an instruction set: its name is in those of the kernels.
_SET = {"avx512_bf16": "avx512"}.get(core.DOT_IN_USE, core.DOT_IN_USE)
#: With tiles (AMX) bfloat16 is faster than float32 by Winograd's algorithm; with vectors it is not.
_RANK = 1000 if core.DOT_IN_USE == "amx" else 15


@dataclass(frozen=True, slots=True)
class PreparedDots:
    """Products of one x with their packed weights. ``places``: for each the inputs w, bias, multiplier (-1: none)."""

    dot: Dot
    packed: tuple[np.ndarray[Any, Any], ...]
    places: tuple[tuple[int, int, int], ...]

    @property
    def workspace_bytes(self) -> int:
        return self.dot.workspace_bytes

    @property
    def absorbed(self) -> frozenset[int]:
        return frozenset(w for w, _, _ in self.places)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        biases = [inputs[b] if b >= 0 else None for _, b, _ in self.places]
        multipliers = [inputs[m] if m >= 0 else None for _, _, m in self.places]
        return self.dot.bind(inputs[0], self.packed, biases, multipliers, outputs, workspace)


def axes_of(g: WindowGeometry) -> tuple[DotAxis, DotAxis]:
    """The two axes of a convolution."""
    down, across = ((g.size[i], g.out[i], g.window[i], g.strides[i], g.dilations[i], g.before[i]) for i in range(2))
    return down, across


def _products(
    query: Query, constants: Constants, found: Sequence[Place], kernel: str, split: bool = False
) -> PreparedDots:
    """Convolutions of one x, all with the same window."""
    x = query.inputs[0]
    single = [single_query(query, number, place) for number, place in enumerate(found)]
    outs = []
    for one in single:
        lo, hi = ACTIVATION_LIMITS[one.params.activation]
        outs.append((one.inputs[1], one.inputs[2] if len(one.inputs) > 2 else None, None, one.outputs[0], lo, hi, 0))
    g = WindowGeometry.of(single[0].inputs, single[0].outputs, single[0].params)
    cout = [o[3].dims[-1] for o in outs]
    dots = [
        Dot(
            x,
            axes=axes_of(g),
            batch=g.images,
            channels=g.channels,
            outs=[out],
            steps=(n, 1),
            threads=query.threads,
            split=split,
        )
        for out, n in zip(outs, cout, strict=True)
    ]
    dot = dots[0]
    if len(outs) > 1:
        dot = Dot(
            x, axes=axes_of(g), batch=g.images, channels=g.channels, outs=outs, steps=(0, 1), threads=query.threads
        )
    packed = tuple(
        SiblingConstants(constants, place.inputs, kernel).packed(
            1, f"dot:bf16{'x3' if split else ''}:{one.layout}", one.pack
        )
        for place, one in zip(found, dots, strict=True)
    )
    numbers = tuple((p.inputs[1], p.inputs[2] if len(p.inputs) > 2 else -1, -1) for p in found)
    return PreparedDots(dot, packed, numbers)


def _prepare_conv2d(query: Query[Conv2DParams], constants: Constants) -> PreparedDots:
    return _products(query, constants, [Place(tuple(range(len(query.inputs))), query.params)], "bf16")


def _prepare_split(query: Query[Conv2DParams], constants: Constants) -> PreparedDots:
    return _products(query, constants, [Place(tuple(range(len(query.inputs))), query.params)], "bf16", split=True)


def _prepare_siblings(query: Query[SiblingParams], constants: Constants) -> PreparedDots:
    return _products(query, constants, tuple(places(query.params)), "bf16")


def _prepare_matmul(query: Query[MatMulParams], constants: Constants) -> PreparedDots:
    params, (x, w), y = query.params, query.inputs[:2], query.outputs[0]
    k, n = x.dims[-1], y.dims[-1]
    rows = y.size // n
    lo, hi = ACTIVATION_LIMITS[params.activation]
    bias = query.inputs[2] if len(query.inputs) > 2 else None
    dot = Dot(
        x,
        axes=((1, 1, 1, 1, 1, 0), (rows, rows, 1, 1, 1, 0)),
        batch=1,
        channels=k,
        outs=[(w, bias, None, y, lo, hi, 0)],
        steps=(1, k) if params.transpose_b else (n, 1),
        threads=query.threads,
    )
    packed = constants.packed(1, f"dot:bf16:k{k}:{'t' if params.transpose_b else 'n'}", dot.pack)
    return PreparedDots(dot, (packed,), ((1, 2 if bias is not None else -1, -1),))


def _refuse_dtypes(query: Query) -> str | None:
    """x and y are float32 or bfloat16 in memory, everything else is float32."""
    stored = (query.inputs[0], *query.outputs)
    if all(t.dtype in (*FLOAT32, BFLOAT16) for t in stored) and all(t.dtype in FLOAT32 for t in query.inputs[1:]):
        return None
    return f"takes float32 and bfloat16, not {', '.join(map(str, (*query.inputs, *query.outputs)))}"


def _has_few_inputs(query: Query[Conv2DParams]) -> bool:
    """float32 of a window that has several pixels, but few inputs in all."""
    kh, kw, cin, _ = query.inputs[1].dims
    return query.inputs[0].dtype != BFLOAT16 and kh * kw > 1 and kh * kw * cin <= _FEW_INPUTS


def _supports_split(query: Query[Conv2DParams]) -> str | None:
    if not query.inputs[1].size or not _has_few_inputs(query):
        return f"is for windows of several pixels with at most {_FEW_INPUTS} float32 inputs in all"
    return "packs constant weights only" if 1 not in query.constants else _refuse_dtypes(query)


def _supports_conv2d(query: Query[Conv2DParams]) -> str | None:
    if query.inputs[1].size and _has_few_inputs(query):
        return "leaves few float32 inputs to the kernel that splits them"
    if 1 not in query.constants:
        return "packs constant weights only"
    if not query.inputs[1].size:
        return "needs at least one tap and one input channel"
    return _refuse_dtypes(query)


def _supports_siblings(query: Query[SiblingParams]) -> str | None:
    found = tuple(places(query.params))
    if any(place.inputs[1] not in query.constants for place in found):
        return "packs constant weights only"
    if not query.inputs[0].dims[-1]:
        return "needs at least one input channel"
    if len(found) > most_products():
        return f"runs at most {most_products()} convolutions as one"
    return _refuse_dtypes(query)


def _supports_matmul(query: Query[MatMulParams]) -> str | None:
    if 1 not in query.constants or len(query.inputs[1].dims) != 2:
        return "packs one constant matrix only"
    if query.params.transpose_a or not query.inputs[1].size:
        return "needs rows of a that are contiguous, and at least one column in them"
    return _refuse_dtypes(query)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        CONV2D, "cython", f"conv2d_bf16_{_SET}", prepare=_prepare_conv2d, supports=_supports_conv2d, rank=_RANK, precision="bf16",
        strided_outputs=True, strided_inputs=True, bfloat16=True,
    ),
    Kernel(
        CONV2D, "cython", f"conv2d_split_bf16_{_SET}", prepare=_prepare_split, supports=_supports_split, rank=_RANK,
        precision="bf16", strided_outputs=True, strided_inputs=True, bfloat16=True, near_exact=True,
        tolerance=PRODUCT_TOLERANCES["bf16x3"],
    ),
    Kernel(
        SIBLING_CONV2D, "cython", f"sibling_conv2d_bf16_{_SET}", prepare=_prepare_siblings, supports=_supports_siblings, rank=_RANK,
        precision="bf16", strided_outputs=True, strided_inputs=True, bfloat16=True,
    ),
    Kernel(
        MATMUL, "cython", f"matmul_bf16_{_SET}", prepare=_prepare_matmul, supports=_supports_matmul, rank=_RANK, precision="bf16",
        bfloat16=True,
    ),
)  # fmt: skip
