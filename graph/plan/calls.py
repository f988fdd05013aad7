"""Calls that were made before: from what ``Session.run`` is given to its compiled plan by one look-up.

A call is known by its fetches, what it feeds, and the shapes of the arrays; element types are compared. All else, such as a
wrong feed or a list in place of an array, goes the long way, which converts, checks and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from ...kernels.errors import KigraphError
from ..builder import Tensor
from ..ir import Port
from ..opdefs import STAGED
from .plan import Plan
from .stage import Stage

__all__ = ["MISSED", "Calls"]

Value = np.ndarray[Any, Any]
Read: TypeAlias = Callable[[Collection[str]], Mapping[str, Value]]

#: What ``Calls.run`` gives for a call that it does not know.
MISSED: Final = object()
_NOTHING: Final[dict[Any, Any]] = {}


class _Call:
    """A plan that neither assigns variables nor has effects, with all that a run of it needs of the call."""

    __slots__ = ("dtypes", "feeds", "order", "picked", "plan", "single", "stage")

    def __init__(self, plan: Plan, feeds: Mapping[Port, Value], single: bool) -> None:
        self.plan, self.single = plan, single
        self.feeds = [plan.cut.feeds[port] for port in feeds]
        self.dtypes = [value.dtype for value in feeds.values()]
        #: The stage, if it is all there is to run; where its inputs are in the feeds (None: as they are), and the results in its outputs.
        self.stage: Stage | None = None
        outputs, stage = plan.graph.outputs, plan.static.get(0)
        if len(plan.parts) != 1 or not isinstance(stage, Stage) or plan.cut.variables:
            return
        part = stage.part
        if (
            set(part.inputs) <= set(self.feeds)
            and set(outputs) == set(part.outputs)
            and len(outputs) == len(part.outputs)
            and not any(plan.graph.nodes[port.node].op in STAGED for port in outputs)
        ):
            self.stage = stage
            order = [self.feeds.index(port) for port in part.inputs]
            self.order = None if order == [*range(len(self.feeds))] else order
            self.picked = [part.outputs.index(port) for port in outputs]

    def fits(self, values: Sequence[Any]) -> bool:
        """Whether the values are dense arrays of the element types of this call; their shapes belong to its key."""
        if len(values) != len(self.dtypes):
            return False
        for value, dtype in zip(values, self.dtypes):  # noqa: B905 - strict costs 0.1 us
            if value.__class__ is not np.ndarray or value.dtype is not dtype or not value.flags.c_contiguous:
                return False
        return True

    def run(self, values: Sequence[Value], read: Read) -> Any:
        """The result as ``Session.run`` gives it."""
        plan, stage = self.plan, self.stage
        plan.used = True
        if stage is not None:
            made = stage.call(values if self.order is None else [values[i] for i in self.order])
            if self.single:
                value = made[0]
                return value if value.ndim else value[()]
            results = [made[i] for i in self.picked]
        else:
            arrays = dict(zip(self.feeds, values, strict=True))
            if plan.cut.variables:
                found = read(plan.cut.variables)
                arrays.update((port, found[name]) for name, port in plan.cut.variables.items())
            results = plan.run(arrays)
        shown = [value if value.ndim else value[()] for value in results]
        return shown[0] if self.single else shown


class Calls:
    """The calls of a session whose plans are kept. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: dict[Hashable, _Call] = {}

    def clear(self) -> None:
        self._calls.clear()

    def run(self, fetches: Any, feed_dict: Any, read: Read) -> Any:
        """What the run gives, or MISSED. read: gives the values of variables."""
        given = _NOTHING if feed_dict is None else feed_dict
        if given.__class__ is not dict:
            return MISSED
        values = [*given.values()]
        try:
            call = self._calls.get(_key(fetches, given, values))
        except TypeError:  # a nesting, which can be no key
            return MISSED
        if call is None or not call.fits(values):
            return MISSED
        try:
            return call.run(values, read)
        except KigraphError:
            raise
        except MemoryError:
            return MISSED

    def remember(self, fetches: Any, feed_dict: Any, plan: Plan, feeds: Mapping[Port, Value]) -> None:
        """Keeps a call that was made: a tensor or a list of different ones, for arrays that were taken as they are."""
        given = _NOTHING if feed_dict is None else feed_dict
        wanted = fetches if fetches.__class__ is list else [fetches]
        if (
            given.__class__ is not dict
            or plan.cut.assigned
            or plan.cut.effects
            or len(plan.graph.outputs) != len(wanted)
            or not all(item.__class__ in (Tensor, str) for item in (*wanted, *given))
            or not all(value is given[key] for key, value in zip(given, feeds.values(), strict=True))
        ):
            return
        if len(self._calls) >= self._most:
            self._calls.clear()
        self._calls[_key(fetches, given, given.values())] = _Call(plan, feeds, fetches.__class__ is not list)


def _key(fetches: Any, given: Mapping[Any, Any], values: Collection[Any]) -> Hashable:
    """What tells calls apart: a shape for each array. Of values that are no arrays there is none: ``fits`` looks at them."""
    shapes = [value.shape for value in values if value.__class__ is np.ndarray]
    if fetches.__class__ is list:
        return (list, len(fetches), *fetches, *given, *shapes)
    return (fetches, *given, *shapes)
