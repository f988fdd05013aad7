"""The table of layers: class of Keras -> what builds it. A class that is not here is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from ...builder import Tensor
from ...formats.limits import brief
from ...hints import similar
from .activations import ACTIVATION_LAYERS
from .applications import APPLICATIONS
from .attention import ATTENTION
from .building import Building
from .config import Layer
from .conv import CONVOLUTIONS
from .dense import DENSE
from .discrete import DISCRETE
from .images import IMAGES, INACTIVE
from .merge import MERGES
from .norms import NORMS
from .operations import OPERATIONS
from .pooling import POOLS
from .recurrent import RECURRENT
from .shapes import SHAPES

__all__ = ["LAYERS", "OPERATIONS", "TRAINS", "apply", "is_operation"]

Made = Callable[[Building, Any], Any]


def _masking(b: Building, x: Tensor) -> Tensor:
    """Steps whose values are all ``mask_value`` do not count; they become 0."""
    from ... import ops

    value = b.number("mask_value", 0.0)
    counts = ops.reduce_any(ops.not_equal(x, value), -1, keepdims=True)
    made = ops.multiply(x, ops.cast(counts, x.dtype))
    b.set_mask(made, ops.squeeze(counts, -1))
    return made


LAYERS: dict[str, Made] = {
    **DENSE, **CONVOLUTIONS, **POOLS, **NORMS, **ACTIVATION_LAYERS, **SHAPES, **MERGES, **IMAGES, **ATTENTION, **RECURRENT,
    **DISCRETE, **APPLICATIONS, "Masking": _masking,
}  # fmt: skip

#: Layers that are active where Keras 2 is called with training=True.
TRAINS = (*sorted(INACTIVE - {"ActivityRegularization", "Identity"}), "BatchNormalization", "RandomCrop")
#: Layers that take numbers as they are.
_AS_THEY_ARE = ("Embedding", "Reshape", "Flatten", "Permute", "RepeatVector", "TimeDistributed", "Bidirectional")
#: Layers that take no account of a mask, and what they give has none.
_FORGET = (
    *POOLS, *CONVOLUTIONS, *SHAPES, "Embedding", "Masking", "Bidirectional", "LSTM", "GRU", "SimpleRNN", "RNN",
    "EinsumDense", "RMSNormalization", "SpectralNormalization", "Attention", "AdditiveAttention",
)  # fmt: skip
#: Layers whose result depends on a mask in ways that are not translated.
_DEPENDS = ("Softmax", "TimeDistributed", "BatchNormalization", "Activation")


def apply(b: Building, x: Any) -> Any:
    """What a layer or a function gives for its input."""
    layer = b.layer
    if is_operation(layer, b.shared.keras3, len(b.args)):
        return _operation(b, x)
    extra = [v for k, v in b.kwargs.items() if k not in ("training", "mask") and v is not None]
    if layer.kind not in (*ATTENTION, *RECURRENT) and (b.args or extra):
        raise b.error(f"the arguments {brief([*b.args, *extra])}", "one input")
    masks = _mask_of(b, x)
    as_it_is = layer.kind in DISCRETE or (layer.kind in _AS_THEY_ARE and _whole(x))
    made = LAYERS[layer.kind](b, x if as_it_is else _floats(b, x))
    if layer.kind in SHAPES and any(made is t and b.mask(t) is not None for t in _flat(x)):
        from ... import ops

        made = ops.identity(made)  # what it gives has no mask, even if it changes nothing
    if masks and layer.kind not in _FORGET and isinstance(made, Tensor):
        b.set_mask(made, masks[0])
    return made


def _mask_of(b: Building, x: Any) -> list[Tensor]:
    """The mask that the layer's result gets, first, unless its kind has none."""
    masks, kind = _masks(b, x), b.layer.kind
    if masks and kind in MERGES and len(_flat(x)) > 1:
        return _merged(b, _flat(x))
    if masks and kind in _DEPENDS:
        raise b.error("an input with a mask, on which the result depends", "no Masking layer or mask_zero before it")
    return masks


def _operation(b: Building, x: Any) -> Any:
    layer = b.layer
    wrapped = layer.kind in ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
    name = layer.config.get("function", layer.kind) if wrapped else layer.kind
    build = OPERATIONS.get(name) if isinstance(name, str) else None
    if build is None:
        near = similar(str(name), OPERATIONS)
        raise b.error(
            f"the operation {brief(name)}", f"one of {len(OPERATIONS)} that are translated{near and f' ({near})'}"
        )
    return build(b, x)


def _masks(b: Building, x: Any) -> list[Tensor]:
    """The masks of the inputs. Keras 3 writes those that it made itself as arguments."""
    mask = b.kwargs.get("mask")
    inputs, given = _flat(x), _flat(mask)
    if mask is not None:
        good = all(isinstance(t, Tensor) for t in inputs) and all(isinstance(m, (Tensor, type(None))) for m in given)
        if len(inputs) != len(given) or not good:
            raise b.error(f"the masks {brief(mask)}", "one for every input")
        for tensor, one in zip(inputs, given, strict=True):
            if one is not None:
                b.set_mask(tensor, one)
    return [m for t in inputs if (m := b.mask(t)) is not None]


def _merged(b: Building, inputs: list[Any]) -> list[Tensor]:
    """The mask of what a layer makes of several inputs: none, or one."""
    from ... import ops

    found = [b.mask(t) for t in inputs]
    kept = [m for m in found if m is not None]
    if b.layer.kind == "Dot" and b.shared.keras3:
        return []
    if b.layer.kind == "Concatenate":
        # The versions of Keras differ in how they join the masks of inputs that have different ones.
        rank = len(b.shape(inputs[0]))
        if any(m is not kept[0] for m in found) or b.axes(b.get("axis", -1), rank) != (rank - 1,):
            raise b.error("inputs with different masks", "one mask for all of them, joined along the last axis")
    elif b.layer.kind == "Dot":
        raise b.error("an input with a mask", "no Masking layer or mask_zero before it")
    if all(m is kept[0] for m in found):
        return kept[:1]
    if b.shared.keras3:
        return [reduce(ops.logical_or, kept)] if len(kept) == len(found) else []
    return [reduce(ops.logical_and, kept)]


def is_operation(layer: Layer, keras3: bool, more: int) -> bool:
    """Whether a class is a function. Keras 3 leaves its module out in HDF5: there functions have no 'trainable'."""
    if layer.operation or layer.kind not in OPERATIONS or not keras3 or "trainable" in layer.config:
        return layer.operation
    return layer.kind not in LAYERS or more > 0 or "newshape" in layer.config


def _flat(x: Any) -> list[Any]:
    return [t for v in x for t in _flat(v)] if isinstance(x, (list, tuple)) else [x]


def _whole(x: Any) -> bool:
    return any(isinstance(t, Tensor) and t.dtype.kind in "iub" for t in _flat(x))


def _floats(b: Building, x: Any) -> Any:
    """Inputs in the type that the layer computes in; their masks go with them."""
    if isinstance(x, (list, tuple)):
        return [_floats(b, v) for v in x]
    if not isinstance(x, Tensor):
        return x
    made = b.float(x)
    mask = b.mask(x)
    if made is not x and mask is not None:
        b.set_mask(made, mask)
    return made
