"""Tuner: chooses for a session when a layer has several legal kernels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import settings
from ..backends import HOST_FAMILY, get_backend
from ..devices import HOST
from ..errors import SettingsError
from ..kernel import Constants, Kernel, Query
from ..records import dataclass
from ..settings import cache_folder
from .measure import measure
from .signature import signature
from .tables import Table, read_table, shipped_table, table_path, write_table

__all__ = ["Decision", "Tuner", "accurate_enough"]

_LOG = logging.getLogger("kigraph")
#: How much faster another kernel must be than the one of higher rank: noise must not decide.
_MARGIN = 0.03
#: Folders for which it was logged that they cannot be written.
_SAID: set[Path] = set()


@dataclass(frozen=True, slots=True)
class Decision:
    """A kernel for a layer; ``source``: 'measured now', 'tuning', 'shipped table'; the times in microseconds."""

    layer: str
    kernel: Kernel
    source: str
    times: Mapping[str, float]

    @property
    def microseconds(self) -> float:
        """Of the kernel that was chosen."""
        return self.times[self.kernel.name]

    def __str__(self) -> str:
        others = sorted((t, name) for name, t in self.times.items() if name != self.kernel.name)
        against = f" against {others[0][0] / 1e3:.3f} ms of {others[0][1]}" if others else ""
        return f"chosen by {self.source}: {self.microseconds / 1e3:.3f} ms{against}"


class Tuner:
    """Chooses among the legal kernels of a layer. One per session; thread-safe as far as sessions compile one at a time.

    mode: 'off' = the table that comes with the package, else ranks; 'cached' = the tuning file of the cache folder, else
    as off; 'full' = what the file lacks is measured once and stored. Default: KIGRAPH_TUNE.

    What was decided for a layer stays decided as long as the tuner lives, whatever other processes store meanwhile: all
    plans of a session run a layer in the same way. Raises SettingsError for an unknown mode.
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = settings.TUNE.get() if mode is None else mode
        if self.mode not in settings.TUNE.allowed:
            raise SettingsError(f"tune must be one of {', '.join(settings.TUNE.allowed)}, got {mode!r}")
        self.decisions: dict[tuple[str, str, tuple[str, ...]], Decision | None] = {}
        self._tables: dict[str, tuple[Table, ...]] = {}
        self._new: dict[str, dict[str, dict[str, float]]] = {}

    def decide(self, query: Query, legal: Sequence[Kernel], constants: Constants | None = None) -> Decision | None:
        """The kernel for a layer, or None where the rank decides.

        legal: kernels of one backend that support the query, by rank. constants: the weights, for measuring.
        """
        if len(legal) < 2 or legal[0].backend == HOST_FAMILY:
            return None
        layer = signature(query)
        if layer is None or len(legal := accurate_enough(legal)) < 2:
            return None
        key = (legal[0].backend, layer, tuple(k.name for k in legal))
        if key not in self.decisions:
            self.decisions[key] = self._decide(layer, query, legal, constants)
        return self.decisions[key]

    def _decide(
        self, layer: str, query: Query, legal: Sequence[Kernel], constants: Constants | None
    ) -> Decision | None:
        name = legal[0].backend
        backend = get_backend(name)
        if backend.device().name != HOST.name:
            return None
        if name not in self._tables:
            target = backend.target()
            mine = () if self.mode == "off" else (read_table(table_path(name, target), name, target),)
            self._tables[name] = (*mine, shipped_table(name, target))
        tables = self._tables[name]
        for table in tables[:1] if self.mode == "full" else tables:
            times = table.layers.get(layer, {})
            # An entry from before a kernel existed says nothing about that kernel.
            if all(k.name in times for k in legal):
                return _decision(layer, legal, table.source, times)
        return self._measured(layer, query, legal, constants) if self.mode == "full" else None

    def again(self, query: Query, legal: Sequence[Kernel], constants: Constants | None = None) -> Decision | None:
        """As ``decide``, but measures in any case, for ``save`` to store; None if there is nothing to choose."""
        layer = signature(query)
        if layer is None or len(legal := accurate_enough(legal)) < 2:
            return None
        if get_backend(legal[0].backend).device().name != HOST.name:
            return None
        return self._measured(layer, query, legal, constants)

    def _measured(self, layer: str, query: Query, legal: Sequence[Kernel], constants: Constants | None) -> Decision:
        times = measure(query, legal, constants)
        self._new.setdefault(legal[0].backend, {})[layer] = times
        return _decision(layer, legal, "measuring", times)

    def save(self) -> None:
        """Stores what was measured; a folder that cannot be written is logged once."""
        for name, layers in self._new.items():
            target = get_backend(name).target()
            try:
                write_table(table_path(name, target), name, target, layers)
            except OSError as error:
                folder = cache_folder()
                if folder not in _SAID:
                    _SAID.add(folder)
                    _LOG.warning("tuning is not kept: %s cannot be written: %s", folder, error.strerror)
        self._new.clear()


def accurate_enough(legal: Sequence[Kernel]) -> tuple[Kernel, ...]:
    """Candidates: the legal kernels whose error bound is no wider than that of the kernel whose own rank is highest.

    The ranks decide how much accuracy may be traded for speed, not a measurement of time.
    """
    most = _error(max(legal, key=lambda k: k.rank))
    return tuple(k for k in legal if _error(k) <= most)


def _error(kernel: Kernel) -> float:
    return (kernel.tolerance or kernel.contract.tolerance).atol


def _decision(layer: str, legal: Sequence[Kernel], source: str, times: Mapping[str, float]) -> Decision:
    here = {k.name: times[k.name] for k in legal}
    best = min(here.values())
    kernel = next(k for k in legal if here[k.name] <= best * (1 + _MARGIN))
    return Decision(layer, kernel, source, here)
