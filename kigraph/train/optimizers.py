"""Optimizers. ``minimize`` adds the gradients and the updates to the graph; running its operation is one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..graph import ops
from ..graph.builder import Operation, Tensor
from ..graph.errors import GraphError
from ..graph.gradients import gradients
from ..kernels.tensor import is_float

__all__ = ["Adam", "GradientDescent", "Momentum", "Optimizer", "RMSProp", "trainable_variables"]


def trainable_variables(loss: Tensor) -> list[Tensor]:
    """The float variables that a tensor depends on, in the order in which they were made."""
    seen: set[Operation] = set()
    stack = [loss.op]
    while stack:
        op = stack.pop()
        if op not in seen:
            seen.add(op)
            stack.extend(t.op for t in op.inputs)
    return [
        op.outputs[0]
        for op in loss.graph.operations
        if op in seen and op.type == "VariableV2" and is_float(op.outputs[0].dtype)
    ]


class Optimizer:
    """Base class: subclasses say what is added to one variable, given its gradient."""

    def __init__(self, learning_rate: float) -> None:
        if not learning_rate > 0:
            raise GraphError(f"learning_rate must be positive, got {learning_rate!r}")
        self.learning_rate = float(learning_rate)
        #: The rate as a variable of the graph, so that a schedule can assign it.
        self.rate: Tensor | None = None

    def minimize(self, loss: Tensor, variables: Sequence[Tensor] | None = None, name: str = "train") -> Operation:
        """An operation that makes one step downhill on ``loss`` (a scalar) for the given variables (default: all).

        All reads of a step see the values from its start. Raises GraphError if the loss depends on none of them.
        """
        chosen = trainable_variables(loss) if variables is None else list(variables)
        found = [(v, g) for v, g in zip(chosen, gradients(loss, chosen), strict=True) if g is not None]
        if not found:
            raise GraphError(f"minimize: '{loss.name}' depends on none of the {len(chosen)} variables")
        graph = loss.graph
        with graph.as_default(), graph.name_scope(None), graph.name_scope(name):
            self.rate = ops.variable(np.float32(self.learning_rate), name="learning_rate")
            shared = self._shared()
            updates: list[Tensor] = list(shared)
            for variable, gradient in found:
                with graph.name_scope(variable.op.name):
                    updates += self._update(variable, gradient)
            return ops.group(*updates, name="step")

    def _rate(self, like: Tensor) -> Tensor:
        assert self.rate is not None
        return ops.cast(self.rate, like.dtype)

    def _shared(self) -> Sequence[Tensor]:
        """Updates that are made once per step, such as a step counter."""
        return ()

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        raise NotImplementedError

    @staticmethod
    def _slot(variable: Tensor, name: str, value: float = 0.0) -> Tensor:
        """A variable of the optimizer, like the given one."""
        return ops.variable(np.full(variable.type.dims, value, variable.dtype), name=name)


class GradientDescent(Optimizer):
    """v -= rate * g"""

    def __init__(self, learning_rate: float = 0.01) -> None:
        super().__init__(learning_rate)

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        return [ops.assign_sub(variable, ops.multiply(gradient, self._rate(variable)))]


class Momentum(Optimizer):
    """m = momentum * m + g;  v -= rate * m  (Nesterov: v -= rate * (g + momentum * m))."""

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9, nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum, self.nesterov = momentum, nesterov

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        slot = self._slot(variable, "momentum")
        new = ops.add(ops.multiply(slot, self.momentum), gradient)
        step = ops.add(gradient, ops.multiply(new, self.momentum)) if self.nesterov else new
        return [ops.assign(slot, new), ops.assign_sub(variable, ops.multiply(step, self._rate(variable)))]


class RMSProp(Optimizer):
    """s = decay * s + (1 - decay) * g^2;  v -= rate * g / sqrt(s + epsilon).

    Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.
    """

    def __init__(self, learning_rate: float = 0.001, decay: float = 0.9, epsilon: float = 1e-7) -> None:
        super().__init__(learning_rate)
        self.decay, self.epsilon = decay, epsilon

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        slot = self._slot(variable, "mean_square")
        new = ops.add(ops.multiply(slot, self.decay), ops.multiply(ops.square(gradient), 1 - self.decay))
        step = ops.multiply(ops.multiply(gradient, self._rate(variable)), ops.rsqrt(ops.add(new, self.epsilon)))
        return [ops.assign(slot, new), ops.assign_sub(variable, step)]


class Adam(Optimizer):
    """m, s: decaying means of g and g^2, corrected for their start at 0;  v -= rate * m / (sqrt(s) + epsilon).

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, arXiv:1412.6980, the form of its section 2 with
    the corrections in the rate.
    """

    def __init__(
        self, learning_rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-7
    ) -> None:
        super().__init__(learning_rate)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self._corrected: Tensor | None = None

    def _shared(self) -> Sequence[Tensor]:
        # float64: 1 - beta2 cancels, in float32 the first steps would be off by 6e-5.
        power1 = ops.variable(np.float64(self.beta1), name="beta1_power")
        power2 = ops.variable(np.float64(self.beta2), name="beta2_power")
        assert self.rate is not None
        root = ops.sqrt(ops.subtract(1.0, power2))
        rate = ops.multiply(ops.cast(self.rate, "float64"), root)
        self._corrected = ops.divide(rate, ops.subtract(1.0, power1))
        return [
            ops.assign(power1, ops.multiply(power1, self.beta1)),
            ops.assign(power2, ops.multiply(power2, self.beta2)),
        ]

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        assert self._corrected is not None
        first, second = self._slot(variable, "m"), self._slot(variable, "v")
        m = ops.add(ops.multiply(first, self.beta1), ops.multiply(gradient, 1 - self.beta1))
        s = ops.add(ops.multiply(second, self.beta2), ops.multiply(ops.square(gradient), 1 - self.beta2))
        rate = ops.cast(self._corrected, variable.dtype)
        step = ops.divide(ops.multiply(m, rate), ops.add(ops.sqrt(s), self.epsilon))
        return [ops.assign(first, m), ops.assign(second, s), ops.assign_sub(variable, step)]
