"""Optimizers under TensorFlow 1's names, with its formulas, slots, defaults and names of operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....graph.gradients import gradients as core_gradients
from ..array import group
from ..building import convert
from ..dtypes import as_dtype
from ..graph import Graph, GraphKeys, Operation, Tensor, control_dependencies, get_default_graph
from ..math import FUNCTIONS, cast
from ..scopes import slot_name
from ..variables import Variable, assign, assign_add, assign_sub, lifted, trainable_variables
from .rows import kept, note

__all__ = [
    "AdadeltaOptimizer", "AdagradOptimizer", "AdamOptimizer", "GradientDescentOptimizer", "MomentumOptimizer", "Optimizer",
    "RMSPropOptimizer", "gradients",
]  # fmt: skip

_f = FUNCTIONS


def gradients(
    ys: Any, xs: Any, grad_ys: Any = None, name: str = "gradients", colocate_gradients_with_ops: bool = False, gate_gradients: bool = False,
    aggregation_method: Any = None, stop_gradients: Any = None, unconnected_gradients: Any = None,
) -> list[Any]:  # fmt: skip
    """The gradients of sum(ys) with respect to each of xs: tensors, or None where ys do not depend on x."""
    if stop_gradients:
        raise ValueError("gradients: stop_gradients is not supported by kigraph.compat.v1; use tf.stop_gradient")
    targets = [convert(y) for y in (ys if isinstance(ys, (list, tuple)) else [ys])]
    sources = [_source(x) for x in (xs if isinstance(xs, (list, tuple)) else [xs])]
    weights = grad_ys if grad_ys is None or isinstance(grad_ys, (list, tuple)) else [grad_ys]
    graph = targets[0].graph
    given = None if weights is None else [None if w is None else graph.reach(convert(w)) for w in weights]
    with graph.as_default():
        found = core_gradients([t.reads for t in targets], [t.core for t in sources], given, _scoped(graph, name))
    return [None if g is None else graph.wrap(g) for g in found]


def _source(x: Any) -> Tensor:
    found = x._as_graph_element() if hasattr(x, "_as_graph_element") else x
    if not isinstance(found, Tensor):
        raise TypeError(f"gradients: xs must be tensors or variables, got {type(x).__name__}")
    return found


def _scoped(graph: Graph, name: str) -> str:
    """kigraph's gradients begin at the root of names."""
    scope = graph.core._scope
    return f"{scope}/{name}" if scope else name


class Optimizer:
    """Base class. ``minimize`` adds one step for all variables to the graph."""

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    def __init__(self, use_locking: bool, name: str) -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._name = name
        self._slots: dict[str, dict[Variable, Variable]] = {}
        self._values: dict[str, Any] = {}
        self._tensors: dict[str, Tensor] = {}

    def get_name(self) -> str:
        return self._name

    def minimize(
        self, loss: Any, global_step: Any = None, var_list: Any = None, gate_gradients: int = 1, aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False, name: str | None = None, grad_loss: Any = None,
    ) -> Operation:  # fmt: skip
        """One operation: a step downhill on ``loss`` for var_list (default: all trainable variables)."""
        pairs = self.compute_gradients(loss, var_list, grad_loss=grad_loss)
        if not any(g is not None for g, _ in pairs):
            raise ValueError(
                f"No gradients provided for any variable, check your graph for ops that do not support gradients, between "
                f"variables {[str(v) for _, v in pairs]} and loss {loss}."
            )
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(
        self, loss: Any, var_list: Any = None, gate_gradients: int = 1, aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False, grad_loss: Any = None,
    ) -> list[tuple[Any, Variable]]:  # fmt: skip
        """(gradient or None, variable) for each variable."""
        if callable(loss):
            raise ValueError("compute_gradients takes a loss tensor, not a function")
        found = trainable_variables() if var_list is None else list(var_list)
        if not found:
            raise ValueError("No variables to optimize.")
        wrong = [v for v in found if not isinstance(v, Variable)]
        if wrong:
            raise TypeError(f"Argument is not a variable: {wrong[0]}")
        loss = convert(loss)
        pairs = list(zip(gradients([loss], found, grad_loss), found, strict=True))
        for gradient, variable in pairs:
            note(loss.graph, loss, gradient, variable)
        return pairs

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: str | None = None) -> Operation:
        """One operation that changes the variables; ``global_step`` is a variable that it counts up."""
        pairs = list(grads_and_vars)
        if not pairs:
            raise ValueError("No variables provided.")
        chosen = [(convert(g), v) for g, v in pairs if g is not None]
        if not chosen:
            raise ValueError(f"No gradients provided for any variable: {[str(v) for _, v in pairs]}.")
        graph = get_default_graph()
        self._make_shared()
        for _, v in chosen:
            self._make_slots(v)
        with graph.name_scope(name or self._name) as scope:
            self._tensors = {k: convert(v() if callable(v) else v, name=k) for k, v in self._values.items()}
            updates = []
            for gradient, variable in chosen:
                with graph.name_scope("update_" + variable.op.name):
                    updates.append(self._constrained(variable, self._update(gradient, variable)))
            updates += self._finish(updates)
            if global_step is None:
                made = group(*updates, name=scope)
            else:
                with control_dependencies([group(*updates, name="update")]):
                    made = assign_add(global_step, np.ones((), global_step.dtype.as_numpy_dtype), name=scope).op
        if made not in graph.get_collection_ref(GraphKeys.TRAIN_OP):
            graph.add_to_collection(GraphKeys.TRAIN_OP, made)
        return made

    def _constrained(self, variable: Variable, update: Operation) -> Operation:
        if variable.constraint is None:
            return update
        with control_dependencies([update]):
            return assign(variable, variable.constraint(variable.read_value())).op

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """A variable that the optimizer keeps for another."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """All that the optimizer keeps."""
        return [slot for slots in self._slots.values() for slot in slots.values()]

    def _slot(self, variable: Variable, key: str, value: Callable[[], Any] | None = None) -> Variable:
        slots = self._slots.setdefault(key, {})
        if variable not in slots:
            sizes = variable.shape.as_list()
            first = value or (lambda: np.zeros(sizes, variable.dtype.as_numpy_dtype))
            with lifted() as graph, graph.name_scope(None):
                slots[variable] = Variable(_named(first), False, name=slot_name(variable, self._name))
        return slots[variable]

    def _make_slots(self, variable: Variable) -> None:
        """Makes the variables that are kept for one."""

    def _make_shared(self) -> None:
        """Makes the variables that are kept for all."""

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        raise NotImplementedError(f"{type(self).__name__} does not say how it updates a variable")

    def _finish(self, updates: Sequence[Operation]) -> list[Operation]:
        """What is done after all updates."""
        return []

    def _value(self, key: str, variable: Variable) -> Tensor:
        return cast(self._tensors[key], variable.dtype)


def _named(first: Callable[[], Any]) -> Callable[[], Tensor]:
    return lambda: convert(first(), name="zeros")


class GradientDescentOptimizer(Optimizer):
    """v -= rate * g"""

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._values = {"learning_rate": learning_rate}

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        step = _f["multiply"](gradient, self._value("learning_rate", variable))
        return assign_sub(variable, step, name="ApplyGradientDescent").op


class MomentumOptimizer(Optimizer):
    """m = momentum * m + g;  v -= rate * m  (Nesterov: v -= rate * g + rate * momentum * m)"""

    def __init__(
        self, learning_rate: Any, momentum: Any, use_locking: bool = False, name: str = "Momentum", use_nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._values = {"learning_rate": learning_rate, "momentum": momentum}
        self._nesterov = use_nesterov

    def _make_slots(self, variable: Variable) -> None:
        self._slot(variable, "momentum")

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        slot = self._slot(variable, "momentum")
        rate, momentum = self._value("learning_rate", variable), self._value("momentum", variable)
        rows = kept(gradient, variable)
        new = assign(slot, rows(_f["add"](_f["multiply"](slot, momentum), gradient), slot))
        step = _f["multiply"](new, rate)
        if self._nesterov:
            step = _f["add"](_f["multiply"](gradient, rate), _f["multiply"](step, momentum))
        step = rows(step)
        return assign_sub(variable, step, name="ApplyMomentum").op


class AdagradOptimizer(Optimizer):
    """a += g^2;  v -= rate * g / sqrt(a)"""

    def __init__(
        self, learning_rate: Any, initial_accumulator_value: float = 0.1, use_locking: bool = False, name: str = "Adagrad",
    ) -> None:  # fmt: skip
        if initial_accumulator_value <= 0.0:
            raise ValueError(f"initial_accumulator_value must be positive: {initial_accumulator_value}")
        super().__init__(use_locking, name)
        self._values = {"learning_rate": learning_rate}
        self._first = initial_accumulator_value

    def _make_slots(self, variable: Variable) -> None:
        kind = variable.dtype.as_numpy_dtype
        self._slot(variable, "accumulator", lambda: np.full(variable.shape.as_list(), self._first, kind))

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        new = assign_add(self._slot(variable, "accumulator"), _f["square"](gradient))
        step = _f["multiply"](_f["multiply"](gradient, self._value("learning_rate", variable)), _f["rsqrt"](new))
        return assign_sub(variable, step, name="ApplyAdagrad").op


class AdadeltaOptimizer(Optimizer):
    """a = rho a + (1 - rho) g^2;  u = g sqrt(d + epsilon) / sqrt(a + epsilon);  d = rho d + (1 - rho) u^2;  v -= rate u"""

    def __init__(
        self, learning_rate: Any = 0.001, rho: Any = 0.95, epsilon: Any = 1e-8, use_locking: bool = False, name: str = "Adadelta",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._values = {"lr": learning_rate, "rho": rho, "epsilon": epsilon}

    def _make_slots(self, variable: Variable) -> None:
        self._slot(variable, "accum")
        self._slot(variable, "accum_update")

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        squares, steps = self._slot(variable, "accum"), self._slot(variable, "accum_update")
        rho, epsilon = self._value("rho", variable), self._value("epsilon", variable)
        rest = 1.0 - rho
        new = assign(squares, _f["add"](squares * rho, _f["square"](gradient) * rest))
        step = _f["sqrt"](steps + epsilon) * _f["rsqrt"](new + epsilon) * gradient
        kept = assign(steps, steps * rho + _f["square"](step) * rest)
        with control_dependencies([kept]):
            return assign_sub(variable, step * self._value("lr", variable), name="ApplyAdadelta").op


class RMSPropOptimizer(Optimizer):
    """s += (g^2 - s)(1 - decay);  m = momentum * m + rate * g / sqrt(s + epsilon);  v -= m"""

    def __init__(
        self, learning_rate: Any, decay: Any = 0.9, momentum: Any = 0.0, epsilon: Any = 1e-10, use_locking: bool = False,
        centered: bool = False, name: str = "RMSProp",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._values = {"learning_rate": learning_rate, "decay": decay, "momentum": momentum, "epsilon": epsilon}
        self._centered = centered

    def _make_slots(self, variable: Variable) -> None:
        kind = variable.dtype.as_numpy_dtype
        self._slot(variable, "rms", lambda: np.ones(variable.shape.as_list(), kind))
        if self._centered:
            self._slot(variable, "mg")
        self._slot(variable, "momentum")

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        squares, moved = self._slot(variable, "rms"), self._slot(variable, "momentum")
        rest = 1.0 - self._value("decay", variable)
        rows = kept(gradient, variable)
        change = (_f["square"](gradient) - squares) * rest
        new: Any = assign_add(squares, rows(change))
        if self._centered:
            means = self._slot(variable, "mg")
            new = new - _f["square"](assign_add(means, rows((gradient - means) * rest)))
        scaled = self._value("learning_rate", variable) * gradient * _f["rsqrt"](new + self._value("epsilon", variable))
        step = assign(moved, rows(moved * self._value("momentum", variable) + scaled, moved))
        return assign_sub(variable, rows(step), name="ApplyRMSProp").op


class AdamOptimizer(Optimizer):
    """m += (g - m)(1 - beta1);  s += (g^2 - s)(1 - beta2);  v -= rate * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(s) + epsilon)"""

    def __init__(
        self, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8, use_locking: bool = False,
        name: str = "Adam",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._values = {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
        self._powers: dict[Graph, tuple[Variable, Variable]] = {}

    def _make_slots(self, variable: Variable) -> None:
        self._slot(variable, "m")
        self._slot(variable, "v")

    def _make_shared(self) -> None:
        graph = get_default_graph()
        if graph not in self._powers:
            made = []
            for key in ("beta1", "beta2"):
                value = self._values[key]
                first = value() if callable(value) else value
                made.append(Variable(first, False, name=f"{key}_power", dtype=as_dtype("float32")))
            self._powers[graph] = (made[0], made[1])

    def variables(self) -> list[Variable]:
        return [*(v for pair in self._powers.values() for v in pair), *super().variables()]

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        power1, power2 = (cast(p, variable.dtype) for p in self._powers[get_default_graph()])
        beta1, beta2 = self._value("beta1", variable), self._value("beta2", variable)
        rate = self._value("learning_rate", variable) * _f["sqrt"](1.0 - power2) / (1.0 - power1)
        first, second = self._slot(variable, "m"), self._slot(variable, "v")
        m = assign_add(first, (gradient - first) * (1.0 - beta1))
        s = assign_add(second, (_f["square"](gradient) - second) * (1.0 - beta2))
        step = m * rate / (_f["sqrt"](s) + self._value("epsilon", variable))
        return assign_sub(variable, step, name="ApplyAdam").op

    def _finish(self, updates: Sequence[Operation]) -> list[Operation]:
        made = []
        with control_dependencies(updates):
            for power, key in zip(self._powers[get_default_graph()], ("beta1", "beta2"), strict=True):
                made.append(assign(power, _f["multiply"](power, cast(self._tensors[key], power.dtype), name="mul")).op)
        return made
