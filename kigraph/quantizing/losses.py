"""What each range and each layer costs: one of them at a time has integers, and the scores say how much that changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from .net import Array, Net
from .observing import Network
from .places import Places, data_inputs
from .ranges import Scale
from .scales import Group
from .weights import rounded_weights

__all__ = ["Scores", "decibels", "distance", "layer_losses", "probe_of", "range_losses"]

#: Bytes of values that are held while their losses are measured.
_ROOM = 256 << 20
#: A range that is this much like another one is not measured again.
_ALIKE = 0.01
_SCORES = frozenset(["Softmax", "Sigmoid", "Identity"])

Progress = Callable[[int, str], None]


def probe_of(net: Net, output: str) -> tuple[str, bool]:
    """The value at which losses are measured: the scores before softmax. Whether a number added to all of them means nothing."""
    makers, name, shifts = net.makers(), output, False
    while name in makers and makers[name].op_type in _SCORES:
        shifts |= makers[name].op_type == "Softmax"
        name = makers[name].input[0]
    return name, shifts


def distance(found: Array, wanted: Array, shifts: bool = False) -> float:
    """Power of the difference over the power of what is wanted; infinite for what is not finite."""
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (found, wanted))
    if shifts:
        a, b = (v - v.mean(axis=1, keepdims=True) for v in (a, b))
    power = float((b**2).sum())
    noise = float(((a - b) ** 2).sum())
    if not np.isfinite(noise):
        return float("inf")
    return noise / power if power else (0.0 if noise == 0 else float("inf"))


def decibels(loss: float) -> float:
    """The ratio of signal to quantisation noise in dB: infinite without noise."""
    return float("inf") if loss == 0 else -10 * float(np.log10(loss)) if np.isfinite(loss) else float("-inf")


class Scores:
    """The scores of some images, and how far those of changed values are from them."""

    def __init__(self, network: Network, probe: str, shifts: bool, images: Array) -> None:
        self.network, self.probe, self.shifts = network, probe, shifts
        self.batches = network.batches(images)
        self.wanted = np.concatenate([network.run([probe], b)[0] for b in self.batches])

    def loss(self, feeds: Sequence[Mapping[str, Array]]) -> float:
        """feeds: for each batch the values that are changed."""
        pairs = zip(self.batches, feeds, strict=True)
        found = np.concatenate([self.network.run([self.probe], batch, fed)[0] for batch, fed in pairs])
        return distance(found, self.wanted, self.shifts)

    def values(self, names: Sequence[str]) -> list[dict[str, Array]]:
        """For each batch the float values."""
        return [dict(zip(names, self.network.run(names, b), strict=True)) for b in self.batches]


def range_losses(
    scores: Scores, groups: Sequence[Group], methods: Sequence[str], sizes: Mapping[str, int], progress: Progress
) -> None:
    """Measures the losses of every group's ranges, and gives it the method of the least.

    sizes: value -> its elements for all images of ``scores``. progress: gets the number of groups done and a name.
    """
    done = 0
    for part in _parts(groups, sizes):
        names = list(dict.fromkeys(p for g in part for p in g.points))
        values = scores.values(names)
        for group in part:
            for method in methods:
                like = _like(group, method)
                if like is not None:
                    group.losses[method] = group.losses[like]
                    continue
                scale = group.candidates[method]
                fed = [{p: scale.rounded(v[p]) for p in group.points} for v in values]
                group.losses[method] = scores.loss(fed)
            group.method = min(methods, key=lambda m: (group.losses[m], methods.index(m)))
            done += 1
            progress(done, group.members[0])


def _like(group: Group, method: str) -> str | None:
    """A method that was measured and gives the same range, but for a hundredth."""
    mine = group.candidates[method]
    for other in group.losses:
        scale = group.candidates[other]
        if scale == mine or (scale.zero == mine.zero and abs(scale.step - mine.step) <= _ALIKE * scale.step):
            return other
    return None


def _parts(groups: Sequence[Group], sizes: Mapping[str, int]) -> Iterator[list[Group]]:
    part: list[Group] = []
    held = 0
    for group in groups:
        size = sum(4 * sizes[p] for p in group.points)
        if part and held + size > _ROOM:
            yield part
            part, held = [], 0
        part.append(group)
        held += size
    if part:
        yield part


def layer_losses(
    scores: Scores, net: Net, places: Places, scales: Mapping[str, Scale], sizes: Mapping[str, int], progress: Progress
) -> dict[str, float]:
    """Result of each layer with weights -> the loss when its input and its weights alone are integers."""
    found: dict[str, float] = {}
    by_input: dict[str, list[str]] = {}
    for node in places.layers:
        by_input.setdefault(data_inputs(node)[0], []).append(node.output[0])
    inputs = [Group((name,), (name,), {}) for name in by_input]
    for part in _parts(inputs, sizes):
        names = [g.points[0] for g in part]
        values = scores.values(names)
        for name in names:
            rounded = [scales[name].rounded(v[name]) for v in values]
            for layer in by_input[name]:
                node = places.integer[layer]
                weights = net.constants[node.input[1]]
                bias = net.constants[node.input[2]] if len(node.input) > 2 else None
                real = rounded_weights(node, weights, bias, scales[name].step).real()
                found[layer] = scores.loss([{name: x, node.input[1]: real} for x in rounded])
                progress(len(found), layer)
    return {node.output[0]: found[node.output[0]] for node in places.layers}
