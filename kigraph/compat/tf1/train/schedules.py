"""Learning rates that follow from a step counter, and the counter itself; moving averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..array import group, identity
from ..building import convert
from ..graph import GraphKeys, Operation, Tensor, get_default_graph
from ..math import FUNCTIONS, cast, truediv
from ..scopes import slot_name
from ..variables import Variable, assign_sub, lifted, trainable_variables

__all__ = [
    "ExponentialMovingAverage", "cosine_decay", "create_global_step", "exponential_decay", "get_global_step",
    "get_or_create_global_step", "global_step", "inverse_time_decay", "natural_exp_decay", "piecewise_constant", "polynomial_decay",
]  # fmt: skip

_f = FUNCTIONS


def _part(step: Any, steps: Any, rate: Tensor, staircase: bool) -> Tensor:
    """How many periods have passed."""
    part = truediv(cast(convert(step), rate.dtype), cast(convert(steps), rate.dtype))
    return _f["floor"](part) if staircase else part


def exponential_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """rate * decay_rate ^ (step / decay_steps)"""
    with get_default_graph().name_scope(name or "ExponentialDecay") as scope:
        rate = convert(learning_rate, name="learning_rate")
        part = _part(global_step, decay_steps, rate, staircase)
        return _f["multiply"](rate, _f["pow"](cast(convert(decay_rate), rate.dtype), part), name=scope)


def natural_exp_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """rate * exp(-decay_rate * step / decay_steps)"""
    with get_default_graph().name_scope(name or "ExponentialDecay") as scope:  # TensorFlow's name for both
        rate = convert(learning_rate)
        part = _part(global_step, decay_steps, rate, staircase)
        power = _f["multiply"](_f["negative"](cast(convert(decay_rate), rate.dtype)), part)
        return _f["multiply"](rate, _f["exp"](power), name=scope)


def inverse_time_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False, name: str | None = None,
) -> Tensor:  # fmt: skip
    """rate / (1 + decay_rate * step / decay_steps)"""
    with get_default_graph().name_scope(name or "InverseTimeDecay") as scope:
        rate = convert(learning_rate)
        part = _part(global_step, decay_steps, rate, staircase)
        return truediv(rate, _f["add"](_f["multiply"](cast(convert(decay_rate), rate.dtype), part), 1.0), name=scope)


def polynomial_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, end_learning_rate: Any = 0.0001, power: Any = 1.0, cycle: bool = False,
    name: str | None = None,
) -> Tensor:  # fmt: skip
    """(rate - end) * (1 - step / decay_steps) ^ power + end"""
    with get_default_graph().name_scope(name or "PolynomialDecay") as scope:
        rate = convert(learning_rate)
        step, steps = cast(convert(global_step), rate.dtype), cast(convert(decay_steps), rate.dtype)
        end = cast(convert(end_learning_rate), rate.dtype)
        if cycle:
            from ..parts import where_v2

            times = where_v2(_f["equal"](step, 0.0), np.array(1, rate.core.dtype), _f["ceil"](truediv(step, steps)))
            steps = _f["multiply"](steps, times)
        else:
            step = _f["minimum"](step, steps)
        left = _f["pow"](_f["subtract"](1.0, truediv(step, steps)), cast(convert(power), rate.dtype))
        return _f["add"](_f["multiply"](_f["subtract"](rate, end), left), end, name=scope)


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, alpha: float = 0.0, name: str | None = None,
) -> Tensor:  # fmt: skip
    """rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)"""
    with get_default_graph().name_scope(name or "CosineDecay"):
        rate = convert(learning_rate)
        steps = cast(convert(decay_steps), rate.dtype)
        part = truediv(_f["minimum"](cast(convert(global_step), rate.dtype), steps), steps)
        half = _f["multiply"](_f["add"](_f["cos"](_f["multiply"](part, float(np.pi))), 1.0), 0.5)
        return _f["multiply"](rate, _f["add"](_f["multiply"](half, 1.0 - alpha), alpha))


def piecewise_constant(x: Any, boundaries: Any, values: Any, name: str | None = None) -> Tensor:
    """values[0] up to and with boundaries[0], values[1] up to boundaries[1], and so on."""
    from ..control import case

    if len(boundaries) != len(values) - 1:
        raise ValueError("The length of boundaries should be 1 less than the length of values")
    with get_default_graph().name_scope(name or "PiecewiseConstant"):
        x = convert(x)
        results = [convert(value) for value in values]
        preds = [_f["less_equal"](x, convert(bound, x.dtype)) for bound in boundaries]
        pairs = [(pred, _constantly(result)) for pred, result in zip(preds, results[:-1], strict=True)]
        made: Tensor = case(pairs, default=_constantly(results[-1])) if pairs else results[-1]
        return made


def _constantly(value: Tensor) -> Callable[[], Tensor]:
    return lambda: identity(value)


# --- the counter -----------------------------------------------------------------------------------------------------------


def get_global_step(graph: Any = None) -> Variable | None:
    """The graph's step counter, or None."""
    found = (graph or get_default_graph()).get_collection(GraphKeys.GLOBAL_STEP)
    return found[0] if found else None


def create_global_step(graph: Any = None) -> Variable:
    """A new step counter, an int64 that begins at 0; ValueError if there is one."""
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    from ..scopes import get_variable

    with (graph or get_default_graph()).as_default() as target, target.name_scope(None):
        from ..initializers import Zeros

        keys = [GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP]
        return get_variable("global_step", [], "int64", Zeros("int64"), trainable=False, collections=keys)


def get_or_create_global_step(graph: Any = None) -> Variable:
    return get_global_step(graph) or create_global_step(graph)


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The present value of a step counter."""
    return int(sess.run(global_step_tensor))


class ExponentialMovingAverage:
    """Averages of variables: average -= (1 - decay) * (average - value)."""

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        if zero_debias:
            raise ValueError("ExponentialMovingAverage: zero_debias is not supported by kigraph.compat.v1")
        self._decay, self._updates, self.name = decay, num_updates, name
        self._averages: dict[Variable, Variable] = {}

    def apply(self, var_list: Any = None) -> Operation:
        """An operation that moves the averages of variables towards their values."""
        chosen = trainable_variables() if var_list is None else list(var_list)
        graph = get_default_graph()
        for variable in chosen:
            if not isinstance(variable, Variable):
                raise TypeError(f"ExponentialMovingAverage averages variables, got {type(variable).__name__}")
            if variable not in self._averages:
                with lifted(), graph.name_scope(None):
                    first = variable.initialized_value()
                    name = slot_name(variable, self.name)
                    keys = [GraphKeys.GLOBAL_VARIABLES, GraphKeys.MOVING_AVERAGE_VARIABLES]
                    self._averages[variable] = Variable(first, False, keys, name=name)
        with graph.name_scope(self.name) as scope:
            decay = convert(self._decay, "float32", name="decay")
            if self._updates is not None:
                step = cast(convert(self._updates), "float32")
                decay = _f["minimum"](decay, truediv(_f["add"](step, 1.0), _f["add"](step, 10.0)))
            updates = []
            for variable in chosen:
                average = self._averages[variable]
                rest = cast(_f["subtract"](1.0, decay), average.dtype)
                updates.append(assign_sub(average, _f["multiply"](_f["subtract"](average, variable), rest)))
            return group(*updates, name=scope)

    def average(self, var: Variable) -> Variable | None:
        """The variable that holds the average of another."""
        return self._averages.get(var)

    def average_name(self, var: Variable) -> str:
        found = self._averages.get(var)
        return found.op.name if found is not None else f"{var.op.name}/{self.name}"

    def variables_to_restore(self, moving_avg_variables: Any = None) -> dict[str, Variable]:
        """Names in a checkpoint -> variables, such that the variables get their averages."""
        averaged = {self.average_name(v): v for v in self._averages}
        others = [v for v in get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES) if v not in self._averages]
        return {**averaged, **{v.op.name: v for v in others if v not in self._averages.values()}}
