"""Which values of a program share memory, so that a change in place is seen by all of them, or refused."""

from __future__ import annotations

__all__ = ["VIEWS", "Views"]

#: ATen ops whose result may be a view of their first argument.
VIEWS = frozenset(["view", "reshape", "flatten", "unflatten", "transpose", "t", "permute", "expand", "select", "slice", "narrow", "squeeze", "unsqueeze", "split", "split_with_sizes", "unfold", "chunk", "unbind", "contiguous", "alias", "detach", "to", "type_as", "view_as", "expand_as", "dropout", "feature_dropout", "alpha_dropout"])  # fmt: skip


class Views:
    """Sets of names that share memory. After a change through one of them the others are stale: their values are unknown."""

    def __init__(self) -> None:
        self._group: dict[str, set[str]] = {}
        self._stale: set[str] = set()

    def join(self, source: str, output: str) -> None:
        group = self._group.setdefault(source, {source})
        group.add(output)
        self._group[output] = group

    def change(self, name: str) -> None:
        others = self._group.get(name, set()) - {name}
        self._stale |= others
        self._group[name] = {name}

    def is_stale(self, name: str) -> bool:
        return name in self._stale
