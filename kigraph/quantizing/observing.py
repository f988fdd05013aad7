"""Runs of the float network on photographs: where its values lie, and their means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..classifier import Classifier
from ..graph.builder import Tensor
from ..graph.ir import Literal
from .net import Array, Net
from .ranges import Histogram

__all__ = ["Network", "Observed", "observe"]

_BATCH = 8


class Network:
    """A file's graph in a session: any value fed or fetched by its name in the file."""

    def __init__(self, model: Classifier, net: Net) -> None:
        self.model, self.session = model, model.session
        self.card = model.require_card()
        self._graph = model.graph
        self._net = net

    def known(self, name: str) -> bool:
        """Whether the loaded graph has the value under its name."""
        return name in self._graph.aliases

    def floats(self) -> set[str]:
        """Values of float32 of which the loaded graph knows the rank."""
        names = [*(v.name for v in self._net.inputs), *(o for n in self._net.nodes for o in n.output)]
        found = set()
        for name in names:
            if self.known(name):
                tensor = self._graph.tensor(name)
                if tensor.dtype == np.float32 and tensor.type.rank:
                    found.add(name)
        return found

    @property
    def batch(self) -> int:
        """How many images go through together."""
        return self.model.fixed_batch or _BATCH

    def run(self, names: Sequence[str], images: Array, feeds: Mapping[str, Array] | None = None) -> list[Array]:
        """Values for one batch of prepared images; a batch that is not full is filled up, and cut again."""
        size = self.model.fixed_batch
        missing = (-len(images) % size) if size else 0
        fed: dict[Tensor, Array] = {}
        for name, value in {self.card.input: images, **(feeds or {})}.items():
            self._feed(fed, name, value if name in self._net.constants else _filled(value, missing))
        values = self.session.run(list(names), fed)
        return [v[: len(images)] if missing and len(v) == len(images) + missing else v for v in values]

    def _feed(self, fed: dict[Tensor, Array], name: str, value: Array) -> None:
        """Feeds a value, and what it is a transpose of: windows read that, as they work with the channels last."""
        tensor = self._graph.tensor(name)
        fed[tensor] = value
        if tensor.op.type == "Transpose":
            order = tensor.op.inputs[1].op.attrs.get("value")
            if isinstance(order, Literal):
                fed[tensor.op.inputs[0]] = np.ascontiguousarray(value.transpose(np.argsort(order.array())))

    def batches(self, images: Array) -> list[Array]:
        """The images in batches."""
        return [images[i : i + self.batch] for i in range(0, len(images), self.batch)]


def _filled(array: Array, missing: int) -> Array:
    return array if not missing else np.concatenate([array, np.repeat(array[-1:], missing, axis=0)])


class Observed:
    """``counted``: value -> its histogram. ``means``: value -> its mean over the images, float64, without the batch axis."""

    def __init__(self, names: Iterable[str]) -> None:
        self.counted = {name: Histogram() for name in names}
        self._sums: dict[str, Any] = {}
        self._images: dict[str, int] = {}

    def add(self, values: Mapping[str, Array], images: int) -> None:
        for name, value in values.items():
            self.counted[name].add(value)
            if value.ndim > 1 and len(value) == images and np.isfinite(value).all():
                total = value.sum(axis=0, dtype=np.float64)
                self._sums[name] = self._sums.get(name, 0.0) + total
                self._images[name] = self._images.get(name, 0) + images

    def mean(self, name: str) -> Array | None:
        found = self._sums.get(name)
        return None if found is None else np.asarray(found) / self._images[name]


def observe(
    network: Network, names: Sequence[str], images: Array, progress: Callable[[int], None] = lambda done: None
) -> Observed:
    """Runs the float network on all images. progress: gets the number of those done."""
    found, done = Observed(names), 0
    for batch in network.batches(images):
        values = network.run(names, batch)
        found.add(dict(zip(names, values, strict=True)), len(batch))
        done += len(batch)
        progress(done)
    return found
