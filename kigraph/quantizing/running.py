"""quantize(): the steps in their order."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..classifier import Classifier, load
from ..converting import Ends, onnx_ends, write_card
from ..errors import FeedError, GraphError, KigraphError
from ..graph.hints import shown
from ..graph.writers.onnx import write_model
from ..kernels.atomic_files import check_writable
from ..progress import Pace
from ..weights.scores import check_classifies, probabilities_of
from .folded import folded_net
from .losses import Scores, decibels, distance, layer_losses, probe_of, range_losses
from .net import Array, Net
from .observing import Network, Observed, observe
from .photographs import Photographs, photographs
from .places import Places, place
from .ranges import METHODS, Scale, scale_of
from .result import Layer, Quantized, Value
from .scales import Group, groups_of
from .trials import content_of, tried
from .writing import quantized_net

__all__ = ["CALIBRATIONS", "quantize"]

#: How ranges may be chosen: the same way for all, or each as it measures best.
CALIBRATIONS = ("auto", *METHODS)
#: Photographs on which each range and each layer is measured, and those for the choices that concern the whole network.
_FEW, _MORE = 8, 24
_NOTHING = "nothing of it can work with integers: it has no convolution and no product of matrices with constant float32 weights"


def quantize(
    model: str | os.PathLike[str] | Classifier,
    output: str | os.PathLike[str],
    images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    limit: int = 200,
    holdout: float = 0.25,
    agreement: float = 0.995,
    keep: Collection[str] = (),
    calibrate: str = "auto",
    report: str | os.PathLike[str] | None = None,
    quiet: bool = True,
) -> Quantized:
    """Writes a float model as an ONNX file of 8-bit integers, with its card beside it.

    model: a file, or what ``load`` gave. output: the new file, *.onnx. images: folders, files and patterns of photographs of the
    kind that the network is used for; 100 or more. limit: how many of them are used at most. holdout: share, from 0 to 1, that no
    range is measured on. agreement: share of these whose first label must stay: layers that cost most stay float until it is
    reached. keep: names or patterns of layers that stay float. calibrate: one of CALIBRATIONS. report: an HTML page. quiet: no
    progress on standard error.
    The same model, photographs and options give the same bytes on the same backend.
    Raises FeedError for wrong options, GraphError for a model with nothing to quantise, KigraphError if the agreement cannot be
    reached, ImageError, LoadError, CardError, OSError where nothing can be written.
    """
    target, page = Path(output), None if report is None else Path(report)
    _check(target, page, limit, holdout, agreement, calibrate)
    listed = [images] if isinstance(images, str | os.PathLike) else list(images)
    loaded = model if isinstance(model, Classifier) else load(model)
    if loaded.path is not None and target.exists() and os.path.samefile(loaded.path, target):
        raise FeedError(f"{target}: the output is the source itself; give the new file another name")
    run = _Run(loaded, quiet, calibrate)
    run.read([os.fspath(i) for i in listed], limit, holdout)
    run.measure(_named(run, keep))
    found = run.search(agreement)
    write_model(found.model(), target)
    assert run.ends.card is not None
    write_card(loaded, run.ends.card, target)
    result = run.result(target, page, agreement)
    if page is not None:
        from .page import write_page

        write_page(page, result)
    return result


def _check(target: Path, page: Path | None, limit: int, holdout: float, agreement: float, calibrate: str) -> None:
    if target.suffix.lower() != ".onnx":
        raise FeedError(f"{target}: the new file is ONNX; expected a name that ends in .onnx")
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise FeedError(f"{page}: the report is a page; expected a name that ends in .html")
    for path in (target, *([page] if page else [])):
        check_writable(path)
        if not path.parent.is_dir():
            raise FeedError(f"{path}: there is no folder '{path.parent}'; make it first")
        if not os.access(path.parent, os.W_OK):
            raise FeedError(f"{path}: nothing can be written into the folder '{path.parent}'; no permission")
    if not isinstance(limit, int) or limit < 2:
        raise FeedError(f"limit must be a whole number of at least 2, got {limit!r}")
    if not 0 < holdout < 1:
        raise FeedError(f"holdout must be a share between 0 and 1, such as 0.25, got {holdout!r}")
    if not 0 <= agreement <= 1:
        raise FeedError(f"agreement must be a share from 0 to 1, such as 0.995, got {agreement!r}")
    if calibrate not in CALIBRATIONS:
        raise FeedError(f"calibrate must be one of {', '.join(CALIBRATIONS)}, got {calibrate!r}")


def _named(run: _Run, keep: Collection[str]) -> list[str]:
    """The layers that names and patterns mean. FeedError for one that means none."""
    layers = [n.output[0] for n in run.places.layers]
    found: list[str] = []
    for name in keep:
        fits = [x for x in layers if x == name] or [x for x in layers if fnmatchcase(x, name)]
        if not fits:
            some = ", ".join(layers[:5]) + (f" and {len(layers) - 5} more" if len(layers) > 5 else "")
            raise FeedError(f"keep: no layer is called {shown(name)}; the layers with weights are {some}")
        found += fits
    return found


class _Run:
    """One run, step by step."""

    def __init__(self, model: Classifier, quiet: bool, calibrate: str) -> None:
        self.model, self.quiet, self.calibrate = model, quiet, calibrate
        card = model.require_card()
        check_classifies(model.graph.tensor(card.output).shape, card)
        _refuse_integers(model)
        self.ends: Ends = onnx_ends(model)
        assert self.ends.card is not None
        self.card = self.ends.card
        self.net: Net = folded_net(model.graph, self.ends.inputs, self.ends.outputs, self.ends.names)
        self.float_model = tried(self.net, model, self.card)
        self.network = Network(self.float_model, self.net)
        self.floats = self.network.floats()
        self.places: Places = place(self.net, self.floats)
        if not self.places.layers:
            raise GraphError(f"{model.name}: {_NOTHING}")
        self.choice, self.corrected = calibrate, True
        self.kept: dict[str, str] = {}

    def _pace(self, what: str, total: int, unit: str) -> Pace:
        return Pace(what, total, unit=unit, quiet=self.quiet)

    def read(self, images: Sequence[str], limit: int, holdout: float) -> None:
        """Photographs, prepared as for the new file."""

        def prepare(data: bytes, name: str) -> Array:
            from ..vision.decode import to_pixels

            pixels = to_pixels(data, name=name, max_pixels=self.model.max_pixels)
            return self.float_model.prepare([pixels])

        with self._pace("reading photographs", limit, "photographs") as pace:
            self.photos: Photographs = photographs(
                images, prepare, limit, holdout, lambda done, total: pace.update(done)
            )

    def measure(self, kept: Sequence[str]) -> None:
        """Ranges, the way to choose each, and what each layer costs."""
        images = self.photos.calibrate
        with self._pace("measuring values", len(images), "photographs") as pace:
            self.observed: Observed = observe(self.network, self.places.scaled, images, pace.update)
        self.fixed = self._image_scale()
        self.groups: list[Group] = groups_of(self.net, self.places, self.observed.counted, self.fixed)
        self.kept = dict.fromkeys(kept, "asked")
        probe, shifts = probe_of(self.net, self.card.output.removesuffix(":0"))
        scores = Scores(self.network, probe, shifts, images[:_FEW])
        sizes = self._sizes()
        methods = METHODS if self.calibrate == "auto" else (self.calibrate,)
        with self._pace("comparing ranges", len(self.groups), "ranges") as pace:
            range_losses(scores, self.groups, methods, sizes, lambda done, name: pace.update(done))
        self.methods = {m: g.method for g in self.groups for m in g.members}
        layers = self.places.layers
        with self._pace("measuring layers", len(layers), "layers") as pace:
            self.losses = layer_losses(
                scores, self.net, self.places, _scales(self.groups), sizes, lambda done, name: pace.update(done)
            )
        self._choose(Scores(self.network, probe, shifts, images[:_MORE]), len(methods) > 1)

    def _image_scale(self) -> dict[str, Scale]:
        """The range of the image is that of pixels from 0 to 255, where the photographs do not leave it."""
        start = self.card.input.removesuffix(":0")
        norm = self.card.preprocessing.normalization
        ends = [(p - m) / s for p in (0.0, 255.0) for m, s in zip(norm.mean, norm.std, strict=True)]
        seen = self.observed.counted.get(start)
        if seen is None or seen.low < min(ends) - 1e-3 or seen.high > max(ends) + 1e-3:
            return {}
        return {start: scale_of(min(ends), max(ends))}

    def _sizes(self) -> dict[str, int]:
        """Elements of every value for the photographs on which losses are measured."""
        means = {n: self.observed.mean(n) for n in self.places.scaled}
        return {n: _FEW * (1 if mean is None else mean.size) for n, mean in means.items()}

    def _choose(self, scores: Scores, several: bool) -> None:
        """What measures best for the whole network: each range by itself, or all in the same way; biases corrected or not."""
        ways = [self.calibrate, *(METHODS if several else ())]
        tries = [(way, True) for way in ways]
        with self._pace("comparing networks", len(tries) + 1, "networks") as pace:
            found = [(self._loss(scores, way, True), i) for i, (way, _) in enumerate(tries)]
            least, best = min(found)
            self.choice = tries[best][0]
            pace.update(len(tries))
            self.corrected = least <= self._loss(scores, self.choice, False)
            pace.update(len(tries) + 1)

    def _loss(self, scores: Scores, way: str, corrected: bool) -> float:
        model = tried(self._net(list(self.kept), way, corrected)[0], self.model, self.card)
        network = Network(model, self.net)
        found = np.concatenate([network.run([scores.probe], b)[0] for b in scores.batches])
        return distance(found, scores.wanted, scores.shifts)

    def _net(self, kept: Collection[str], way: str, corrected: bool) -> tuple[Net, Places, list[Group]]:
        """The network with integers but for the layers in ``kept``."""
        places = place(self.net, self.floats, kept)
        groups = groups_of(self.net, places, self.observed.counted, self.fixed)
        for group in groups:
            group.method = way if way in METHODS else self.methods[group.members[0]]
        net = quantized_net(self.net, places, _scales(groups), self.observed.mean if corrected else None)
        return net, places, groups

    def search(self, agreement: float) -> Net:
        """The network with the fewest layers in float that reaches the agreement; the layers that cost most come first."""
        self.wanted = self._answers(self.float_model)
        order = sorted((n for n in self.losses if n not in self.kept), key=lambda n: -self.losses[n])
        asked = dict(self.kept)
        best: tuple[float, int] = (-1.0, 0)
        below, count = -1, 0
        passed: int | None = None
        with self._pace("comparing answers", len(order), "layers in float") as pace:
            while passed is None or passed - below > 1:
                self.kept = asked | dict.fromkeys(order[:count], "agreement")
                pace.update(count)
                share = self._agreement()
                best = max(best, (share, -count))
                if share >= agreement:
                    passed = count
                elif count >= len(order) - 1:
                    raise KigraphError(
                        f"{self.model.name}: an agreement of {agreement:g} is not reached even with {count} of {len(self.losses)} layers "
                        f"in float; the best is {best[0]:.4f} of {len(self.wanted)} photographs with {-best[1]}. Ask for less "
                        "(agreement=, --agreement), or give more photographs of the kind that the network is used for"
                    )
                else:
                    below = count
                count = min(max(1, 2 * count), len(order) - 1) if passed is None else (below + passed) // 2
        self.kept = asked | dict.fromkeys(order[:passed], "agreement")
        self._agreement()
        return self.net_now

    def _agreement(self) -> float:
        self.net_now, self.places_now, self.groups_now = self._net(list(self.kept), self.choice, self.corrected)
        self.found = self._answers(tried(self.net_now, self.model, self.card))
        same = self.found.argmax(axis=1) == self.wanted.argmax(axis=1)
        return float(same.mean())

    def _answers(self, model: Classifier) -> Array:
        """Probabilities for the held-out photographs."""
        network = Network(model, self.net)
        name = self.card.output.removesuffix(":0")
        rows = np.concatenate([network.run([name], b)[0] for b in network.batches(self.photos.held)])
        return probabilities_of(rows, self.card)

    def result(self, target: Path, page: Path | None, agreement: float) -> Quantized:
        photos, wanted, found = self.photos, self.wanted, self.found
        names = list(self.model.labels.names) if self.model.labels is not None else []
        truth = [names.index(f) if f in names else -1 for f in photos.folders]
        known = np.array([t >= 0 for t in truth])
        layers = []
        for node in self.places.layers:
            name = node.output[0]
            loss = decibels(self.losses[name])
            layers.append(
                Layer(name, node.op_type, self.net.constants[node.input[1]].size, loss, self.kept.get(name, ""))
            )
        losses = {m: g.losses for g in self.groups for m in g.members}
        values = tuple(
            Value(
                g.members,
                g.method,
                g.scale.step,
                g.scale.zero,
                {m: decibels(x) for m, x in losses[g.members[0]].items()},
            )
            for g in self.groups_now
        )
        source = self.model.path
        size = (
            source.stat().st_size if source is not None and source.is_file() else sum(map(_size, content_of(self.net)))
        )
        right, right_float = (int((np.array(truth) == rows.argmax(axis=1))[known].sum()) for rows in (found, wanted))
        return Quantized(
            path=target, source=self.model.name, size=target.stat().st_size, source_size=size,
            calibrated=len(photos.calibrate), held=len(wanted),
            same=int((found.argmax(axis=1) == wanted.argmax(axis=1)).sum()), asked=agreement,
            loss=decibels(distance(found, wanted)), layers=tuple(layers), values=values, choice=self.choice,
            corrected=self.corrected, named=int(known.sum()), right=right, right_float=right_float, page=page,
            unreadable=tuple(photos.unreadable), notes=tuple(photos.notes),
        )  # fmt: skip


def _size(piece: Any) -> int:
    return memoryview(piece).nbytes


def _scales(groups: Sequence[Group]) -> dict[str, Scale]:
    return {member: group.scale for group in groups for member in group.members}


def _refuse_integers(model: Classifier) -> None:
    """GraphError for a model that has integers already."""
    metadata = model.graph.metadata
    quantized = next((op for op in model.graph.operations if op.type.startswith(("KiQuant", "KiDequant"))), None)
    if quantized is not None or metadata.get("exact_products") or "quantised layers" in str(metadata.get("note", "")):
        raise GraphError(f"{model.name} is quantised itself; give the float model that it was made from")
