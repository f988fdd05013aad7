"""Optimizers. ``minimize`` adds the gradients and the updates to the graph; running its operation is one step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import ops
from ..graph.builder import Operation, Tensor
from ..graph.errors import GraphError
from ..graph.gradients import gradients
from ..kernels.tensor import is_float
from .clipping import clip
from .schedules import Schedule

__all__ = ["Adam", "AdamW", "GradientDescent", "Momentum", "Optimizer", "RMSProp", "trainable_variables"]


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


Excluded = Sequence[str] | Callable[[Tensor], bool]


class Optimizer:
    """Base class: subclasses say what is added to one variable, given its gradient.

    learning_rate: a positive number, or a schedule: a function of the step (0, 1, ...) to a rate (schedules.py). With a schedule the
    rate is a placeholder, and each run of the step needs ``feeds(step)``; ``Model`` does that.
    clip_value: every element of a gradient is brought into [-clip_value, clip_value]. clip_norm: every gradient whose Euclidean norm is
    larger is scaled to it. global_clip_norm: the same for all gradients as one vector. At most one of the three.
    weight_decay: decoupled (Loshchilov and Hutter, 2019, arXiv:1711.05101): v -= rate * weight_decay * v beside the step.
    exclude_from_decay: parts of names of variables that do not decay, or a function of the variable; default: variables with
    fewer than 2 axes, so biases and batch norm's.
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        global_clip_norm: float | None = None,
        weight_decay: float = 0.0,
        exclude_from_decay: Excluded | None = None,
    ) -> None:
        clips = {"clip_value": clip_value, "clip_norm": clip_norm, "global_clip_norm": global_clip_norm}
        given = {name: value for name, value in clips.items() if value is not None}
        if len(given) > 1:
            raise GraphError(f"give one of {', '.join(clips)}, got {' and '.join(given)}")
        for name, value in given.items():
            if not value > 0:
                raise GraphError(f"{name} must be positive, got {value!r}")
        if not 0 <= weight_decay < math.inf:
            raise GraphError(f"weight_decay must not be negative, got {weight_decay!r}")
        self.schedule = learning_rate if callable(learning_rate) else None
        if not callable(learning_rate) and not 0 < learning_rate < math.inf:
            raise GraphError(f"learning_rate must be positive, got {learning_rate!r}")
        #: The rate, or with a schedule that of step 0.
        self.learning_rate = float(self.rate_at(0) if callable(learning_rate) else learning_rate)
        self._clips, self.weight_decay, self._excluded = given, weight_decay, exclude_from_decay
        #: The rate in the graph: a variable, so that it can be set, or with a schedule a placeholder.
        self.rate: Tensor | None = None

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, from 0. Raises GraphError if the schedule gives no rate."""
        if self.schedule is None:
            return self.learning_rate
        rate = self.schedule(step)
        if not 0 <= rate < math.inf:
            raise GraphError(
                f"the schedule of the learning rate gives {rate!r} for step {step}; expected a number of at least 0"
            )
        return float(rate)

    def feeds(self, step: int) -> dict[Tensor, Any]:
        """What a run of the step needs beside the model's own feeds: with a schedule the rate."""
        if self.schedule is None or self.rate is None:
            return {}
        return {self.rate: np.float32(self.rate_at(step))}

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
            if self.schedule is None:
                self.rate = ops.variable(np.float32(self.learning_rate), name="learning_rate")
            else:
                self.rate = ops.placeholder("float32", [], name="learning_rate")
            shared = self._shared()
            updates: list[Tensor] = list(shared)
            clipped = clip([g for _, g in found], **self._clips)
            for (variable, _), gradient in zip(found, clipped, strict=True):
                with graph.name_scope(variable.op.name):
                    updates += self._update(variable, gradient)
            return ops.group(*updates, name="step")

    def _rate(self, like: Tensor) -> Tensor:
        assert self.rate is not None
        return ops.cast(self.rate, like.dtype)

    def decays(self, variable: Tensor) -> bool:
        """Whether weight decay applies to a variable."""
        excluded = self._excluded
        if not self.weight_decay:
            return False
        if excluded is None:
            return len(variable.type.dims) >= 2
        return not (excluded(variable) if callable(excluded) else any(part in variable.op.name for part in excluded))

    def _lower(self, variable: Tensor, step: Tensor) -> Tensor:
        """The update that takes ``step`` from a variable, and what decays."""
        if self.decays(variable):
            decay = ops.multiply(self._rate(variable), self.weight_decay)
            step = ops.add(step, ops.multiply(variable, decay))
        return ops.assign_sub(variable, step)

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
    """v -= rate * g. Options: those of Optimizer."""

    def __init__(self, learning_rate: float | Schedule = 0.01, **options: Any) -> None:
        super().__init__(learning_rate, **options)

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        return [self._lower(variable, ops.multiply(gradient, self._rate(variable)))]


class Momentum(Optimizer):
    """m = momentum * m + g;  v -= rate * m  (Nesterov: v -= rate * (g + momentum * m))."""

    def __init__(
        self, learning_rate: float | Schedule = 0.01, momentum: float = 0.9, nesterov: bool = False, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum, self.nesterov = momentum, nesterov

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        slot = self._slot(variable, "momentum")
        new = ops.add(ops.multiply(slot, self.momentum), gradient)
        step = ops.add(gradient, ops.multiply(new, self.momentum)) if self.nesterov else new
        return [ops.assign(slot, new), self._lower(variable, ops.multiply(step, self._rate(variable)))]


class RMSProp(Optimizer):
    """s = decay * s + (1 - decay) * g^2;  v -= rate * g / sqrt(s + epsilon).

    Tieleman and Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.
    """

    def __init__(
        self, learning_rate: float | Schedule = 0.001, decay: float = 0.9, epsilon: float = 1e-7, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.decay, self.epsilon = decay, epsilon

    def _update(self, variable: Tensor, gradient: Tensor) -> Sequence[Tensor]:
        slot = self._slot(variable, "mean_square")
        new = ops.add(ops.multiply(slot, self.decay), ops.multiply(ops.square(gradient), 1 - self.decay))
        step = ops.multiply(ops.multiply(gradient, self._rate(variable)), ops.rsqrt(ops.add(new, self.epsilon)))
        return [ops.assign(slot, new), self._lower(variable, step)]


class Adam(Optimizer):
    """m, s: decaying means of g and g^2, corrected for their start at 0;  v -= rate * m / (sqrt(s) + epsilon).

    Kingma and Ba, "Adam: a method for stochastic optimization", 2015, arXiv:1412.6980, the form of its section 2 with
    the corrections in the rate.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
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
        return [ops.assign(first, m), ops.assign(second, s), self._lower(variable, step)]


class AdamW(Adam):
    """Adam with decoupled weight decay: v -= rate * (m / (sqrt(s) + epsilon) + weight_decay * v), m and s corrected.

    Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, arXiv:1711.05101.
    """

    def __init__(self, learning_rate: float | Schedule = 0.001, weight_decay: float = 0.01, **options: Any) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **options)
