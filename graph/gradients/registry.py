"""The table of gradient functions: one per contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...kernels.contracts.base import Contract
from ...kernels.contracts.layout import IDENTITY, RESHAPE
from ..builder import Operation, Tensor, site_of_operation
from ..errors import GraphError
from ..opdefs import CHANNELS, NeedsValue, Site, channels_last, resolve
from ..ops.array import shape, transpose
from ..ops.building import add_op, constant

__all__ = ["GRADIENTS", "Gradient", "Use", "gradient_of", "rank_of", "shape_of", "sum_to", "use_of"]


@dataclass(frozen=True, slots=True)
class Use:
    """One forward op as its contract sees it: the inputs that the kernel gets, the outputs, the parameters.

    Of an op with the channels first it is the same op with the channels last, which has transposed inputs and outputs.
    ``order``: of the axes of these, or nothing.
    """

    op: Operation
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: Any
    attrs: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[int, ...] = ()

    def gradients_of_outputs(self, grads: Sequence[Tensor]) -> Sequence[Tensor]:
        """The gradients of the op's outputs as those of ``outputs``."""
        if not self.order:
            return grads
        where = CHANNELS[self.op.type].outputs
        return [transpose(t, self.order) if i in where else t for i, t in enumerate(grads)]

    def gradient_of_input(self, index: int, gradient: Tensor) -> Tensor:
        """The gradient of one of ``inputs`` as that of input ``index`` of the op."""
        if not self.order or index not in CHANNELS[self.op.type].inputs:
            return gradient
        return transpose(gradient, [self.order.index(a) for a in range(len(self.order))])

    @property
    def x(self) -> Tensor:
        return self.inputs[0]

    @property
    def y(self) -> Tensor:
        return self.outputs[0]


#: (use, gradient of every output) -> gradient of every input; None where none flows.
Gradient = Callable[[Use, Sequence[Tensor]], Sequence[Tensor | None]]

#: Contract -> its gradient function. Contracts that are missing here cannot be differentiated.
GRADIENTS: dict[Contract[Any], Gradient] = {}


def gradient_of(*contracts: Contract[Any]) -> Callable[[Gradient], Gradient]:
    """Registers a gradient function for contracts."""

    def register(function: Gradient) -> Gradient:
        for contract in contracts:
            if contract in GRADIENTS:
                raise GraphError(f"{contract} has two gradient functions")
            GRADIENTS[contract] = function
        return function

    return register


#: Ops that only change the shape: their gradient needs no parameters, which may be unknown while the graph is built.
_RESHAPES = frozenset(["Reshape", "ExpandDims", "Squeeze"])


def use_of(op: Operation) -> tuple[Contract[Any], Use, tuple[int, ...]]:
    """Contract and use of an op, and which of its inputs the contract's inputs are."""
    if op.type == "IdentityN":  # its contract, the identity of one value, serves every input
        return IDENTITY, Use(op, op.inputs, op.outputs, None), tuple(range(len(op.inputs)))
    site = site_of_operation(op)
    order: tuple[int, ...] = ()
    inputs, outputs = op.inputs, op.outputs
    if (last := channels_last(site)) is not None:
        site, order, inputs, outputs = _transposed(op, *last)
    try:
        resolved = resolve(site)
    except NeedsValue as need:
        if op.type in _RESHAPES:
            return RESHAPE, Use(op, op.inputs[:1], op.outputs, None, op.attrs), (0,)
        raise GraphError(
            f"gradients: {op.type} '{op.name}' depends on the value of '{op.inputs[need.index].name}', which must be a "
            "constant for it to be differentiated"
        ) from None
    use = Use(op, resolved.pick(inputs), outputs, resolved.params, site.attrs, order)
    return resolved.contract, use, resolved.pick(range(len(op.inputs)))


Tensors = tuple[Tensor, ...]


def _transposed(op: Operation, site: Site, order: tuple[int, ...]) -> tuple[Site, tuple[int, ...], Tensors, Tensors]:
    """An op with the channels first as one with the channels last."""
    if not order:
        raise GraphError(
            f"gradients: the number of axes of '{op.inputs[0].name}' must be known to differentiate {op.type} '{op.name}' "
            f"with data_format {op.attrs['data_format']}. Give its placeholder a shape such as [None, None, None, None]"
        )
    channels = CHANNELS[op.type]
    inputs = tuple(transpose(t, order) if i in channels.inputs else t for i, t in enumerate(op.inputs))
    outputs = tuple(transpose(t, order) if i in channels.outputs else t for i, t in enumerate(op.outputs))
    return site, order, inputs, outputs


def shape_of(tensor: Tensor) -> Tensor:
    """The sizes of a tensor as an int32 vector: a constant if they are known."""
    return constant(list(tensor.type.dims), "int32", name="shape") if tensor.type.known else shape(tensor)


def rank_of(use: Use) -> int:
    """The number of axes of the op's input, which must be known while the graph is built."""
    if use.x.type.rank is None:
        raise GraphError(
            f"gradients: the rank of '{use.x.name}' {use.x.type} must be known to differentiate {use.op.type} "
            f"'{use.op.name}'. Give its placeholder a shape such as [None, None]"
        )
    return use.x.type.rank


def sum_to(gradient: Tensor, like: Tensor) -> Tensor:
    """The gradient summed over what broadcasting had repeated, so that it has the shape of ``like``."""
    if like.type.known and gradient.type.known and like.shape == gradient.shape:
        return gradient
    return add_op("KiSumTo", [gradient, shape_of(like)], None)
