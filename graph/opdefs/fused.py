"""What grappler's remapper writes: a convolution or product with what follows it, in one op.

They have types here and no kernel: the plan takes them apart (passes/expand_fused.py), and kigraph's own passes fuse the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ...kernels.contracts.base import Contract
from ...kernels.contracts.conv2d import DEPTHWISE_CONV2D
from ...kernels.contracts.matmul import MATMUL, MatMulParams
from ...kernels.tensor import TensorType
from ..errors import GraphError
from .attributes import FALSE, Attr, Row, T, of
from .base import Lowered, OpDef, Site
from .nn import CONV, DEPTHWISE, NORM, batch_norm_types, conv2d_params, conv2d_types

__all__ = ["DEFS", "FUSED", "Fused", "parts_of"]

#: What may follow, with the number of inputs that it takes; activations take none.
STEPS: Mapping[str, int] = {
    "BiasAdd": 1, "FusedBatchNorm": 4, "Add": 1, "Relu": 0, "Relu6": 0, "Elu": 0, "LeakyRelu": 0, "Tanh": 0, "Sigmoid": 0,
    "GeluApproximate": 0, "GeluExact": 0,
}  # fmt: skip

#: The op that comes first, and those of the fused op's attributes that are its own.
Fused = tuple[str, tuple[str, ...]]

_WINDOW = ("T", "strides", "padding", "explicit_paddings", "data_format", "dilations", "use_cudnn_on_gpu")
FUSED: Mapping[str, Fused] = {
    "_FusedConv2D": ("Conv2D", _WINDOW),
    "_FusedDepthwiseConv2dNative": ("DepthwiseConv2dNative", tuple(n for n in _WINDOW if n != "use_cudnn_on_gpu")),
    "_FusedMatMul": ("MatMul", ("T", "transpose_a", "transpose_b")),
}


def parts_of(op: str, name: str, attrs: Mapping[str, Any], count: int) -> list[tuple[str, range]]:
    """What follows the first op, each with the numbers of its inputs; GraphError if they are not those of the node."""
    steps = [s.decode("latin-1") if isinstance(s, bytes) else str(s) for s in attrs.get("fused_ops", ())]
    found, at = [], 2
    for step in steps:
        if step not in STEPS:
            raise GraphError(
                f"{op} '{name}': a fused {step} is not supported; known: {', '.join(STEPS)}. "
                "Save the graph without grappler's remapper"
            )
        found.append((step, range(at, at + STEPS[step])))
        at += STEPS[step]
    if at != count:
        raise GraphError(
            f"{op} '{name}': {', '.join(steps) or 'nothing fused'} takes {at} inputs, the node has {count}"
        )
    return found


def _apart(site: Site) -> Lowered:
    raise site.unsupported("this use of the op", "it runs in a session only, without gradients")


def _first(site: Site) -> Site:
    """The use of the first op alone."""
    parts_of(site.op, site.name, site.attrs, len(site.inputs))
    own = FUSED[site.op][1]
    return replace(site, inputs=site.inputs[:2], attrs={k: v for k, v in site.attrs.items() if k in own})


def _depthwise_types(site: Site) -> tuple[TensorType, ...]:
    return DEPTHWISE_CONV2D.check(site.inputs, conv2d_params(site))


def _product_types(site: Site) -> tuple[TensorType, ...]:
    contract: Contract[MatMulParams] = MATMUL
    params = MatMulParams(bool(site.attr("transpose_a", False)), bool(site.attr("transpose_b", False)))
    return contract.check(site.inputs, params)


def _types(rule: Callable[[Site], tuple[TensorType, ...]]) -> Callable[[Site], tuple[TensorType, ...]]:
    return lambda site: rule(_first(site))


_EPILOGUE: Row = {
    "num_args": Attr("int"), "fused_ops": Attr("list(string)", ()), "epsilon": Attr("float", 1e-4),
    "leakyrelu_alpha": Attr("float", 0.200000003),
}  # fmt: skip
_HOST: Row = {
    "TArgs": Attr("list(type)"), "num_host_args": Attr("int", 0, allowed=(0,)),
    "filter_format": Attr("string", "HWIO", allowed=("HWIO",)),
}  # fmt: skip
_DEPTHWISE: Row = {k: v for k, v in DEPTHWISE.items() if k != "explicit_paddings"}
_NORM: Row = {
    **NORM, "U": of(1), "num_side_inputs": Attr("int", 0, allowed=(0, 1)),
    "activation_mode": Attr("string", "Identity", allowed=("Identity", "Relu")),
}  # fmt: skip

DEFS: tuple[OpDef, ...] = (
    OpDef(
        "_FusedConv2D", _apart, arity=(2, None), infer=_types(conv2d_types), attributes={**CONV, **_EPILOGUE, **_HOST}
    ),
    OpDef(
        "_FusedDepthwiseConv2dNative", _apart, arity=(2, None), infer=_types(_depthwise_types),
        attributes={**_DEPTHWISE, **_EPILOGUE},
    ),
    OpDef(
        "_FusedMatMul", _apart, arity=(2, None), infer=_types(_product_types),
        attributes={**T, "transpose_a": FALSE, "transpose_b": FALSE, **_EPILOGUE},
    ),
    OpDef("_FusedBatchNormEx", _apart, arity=(5, 6), infer=batch_norm_types, attributes=_NORM),
)  # fmt: skip
