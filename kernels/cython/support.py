"""What the kernel records of this folder share: refusals with a reason, and prepared kernels that need no packing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from ..kernel import Constants, Kernel, Prepared, Query, Run
from ..tensor import Array, dtype_name

__all__ = ["ACTIVATION_LIMITS", "Bound", "refuse_dtype", "unless_empty"]

#: The fused activations as limits of a clamp; NaN passes.
ACTIVATION_LIMITS = {"none": (-inf, inf), "relu": (0.0, inf), "relu6": (0.0, 6.0)}

Binder = Callable[[Sequence[Array], Sequence[Array], Array | None], Run]


def refuse_dtype(query: Query, dtypes: Sequence[str]) -> str | None:
    """None if the first input's element type is among ``dtypes``, else the reason."""
    name = dtype_name(query.inputs[0].dtype)
    return None if name in dtypes else f"no C kernel for {name}; there are some for {', '.join(dtypes)}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A prepared kernel that is nothing but its ``bind``."""

    binder: Binder
    workspace_bytes: int = 0
    absorbed: frozenset[int] = field(default_factory=frozenset)

    def bind(self, inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
        return self.binder(inputs, outputs, workspace)


def unless_empty(kernel: Kernel) -> Kernel:
    """The kernel, except that outputs without elements take no preparation, memory or run.

    The other sizes of an empty tensor cost nothing and may be of any order: no loop may count them.
    """
    prepare = kernel.prepare
    if prepare is None:
        return kernel

    def prepare_work(query: Query, constants: Constants) -> Prepared:
        return prepare(query, constants) if any(t.size for t in query.outputs) else Bound(_bind_nothing)

    return replace(kernel, prepare=prepare_work)


def _bind_nothing(inputs: Sequence[Array], outputs: Sequence[Array], workspace: Array | None) -> Run:
    return lambda: None
