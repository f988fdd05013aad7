"""The table of gradient functions: one per contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...kernels.contracts.base import Contract
from ...kernels.contracts.layout import IDENTITY, RESHAPE
from ..builder import Operation, Tensor, site_of_operation
from ..errors import GraphError
from ..opdefs import NeedsValue, resolve
from ..ops.array import shape
from ..ops.building import add_op, constant

__all__ = ["GRADIENTS", "Gradient", "Use", "gradient_of", "rank_of", "shape_of", "sum_to", "use_of"]


@dataclass(frozen=True, slots=True)
class Use:
    """One forward op as its contract sees it: the inputs that the kernel gets, the outputs, the parameters."""

    op: Operation
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: Any

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
    try:
        resolved = resolve(site_of_operation(op))
    except NeedsValue as need:
        if op.type in _RESHAPES:
            return RESHAPE, Use(op, op.inputs[:1], op.outputs, None), (0,)
        raise GraphError(
            f"gradients: {op.type} '{op.name}' depends on the value of '{op.inputs[need.index].name}', which must be a "
            "constant for it to be differentiated"
        ) from None
    use = Use(op, resolved.pick(op.inputs), op.outputs, resolved.params)
    return resolved.contract, use, resolved.pick(range(len(op.inputs)))


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
