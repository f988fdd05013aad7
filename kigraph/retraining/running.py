"""``retrain``: a folder of photographs and a trained network to a new classifier, from the first file to the report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GraphError, KigraphError
from ..graph.formats.source import Source
from ..graph.writers.graphdef import save_graphdef
from ..kernels.digest import blake2b
from ..progress import Bar
from ..train.history import History
from ..weights.card_file import card_document
from .features import Computed, Item, Store, compute, trunk_key
from .head import Data, Head, train_head
from .joined import head_scores, join
from .measures import Measured, measure
from .page import write_page
from .photos import Collection, Part, Photo, collect, split, without
from .result import Files, Retrained, read_record, staging, take_places, write_labels, write_record
from .trunk import Trunk, find_trunk

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["Options", "Run", "files_of", "retrain"]

#: How far the saved file's probabilities may be from those of the head, which sees features of batches.
_SAME = 1e-3
_MOST_VARIANTS = 32


@dataclass(frozen=True, slots=True)
class Options:
    """What decides how a head is trained, apart from photographs and weights; see ``retrain``."""

    validation: float = 0.1
    testing: float = 0.1
    penalty: float | None = None
    balanced: bool = True
    augment: int = 0

    def check(self) -> None:
        """KigraphError for a value that is out of its range."""
        for name, share in (("validation", self.validation), ("testing", self.testing)):
            if not 0 <= share < 1:
                raise KigraphError(f"{name} must be a share from 0 to below 1, got {share!r}")
        if self.validation + self.testing > 0.9:
            raise KigraphError(
                "validation and testing together leave less than a tenth of the photographs for training"
            )
        if self.penalty is not None and not 0 < self.penalty <= 1e6:
            raise KigraphError(f"the penalty of L2 must be above 0, got {self.penalty!r}")
        if not 0 <= self.augment <= _MOST_VARIANTS:
            raise KigraphError(f"augment must be a number of variants from 0 to {_MOST_VARIANTS}, got {self.augment!r}")


def retrain(
    folder: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    weights: str | os.PathLike[str] | Classifier | None = None,
    validation: float = 0.1,
    testing: float = 0.1,
    penalty: float | None = None,
    balanced: bool = True,
    augment: int = 0,
    bottleneck: str | None = None,
    force: bool = False,
    backend: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Retrained:
    """Trains a new last layer for the photographs of a folder, one sub-folder for each class, and saves the whole network.

    output: the new model, '*.pb' (a frozen GraphDef). Beside it are written its labels, card, a report in HTML and a record.
    weights: the network whose trunk is taken: a file that ``load`` opens, a loaded model, or a name as for the command line; default:
    KIGRAPH_WEIGHTS, else the official Inception v3.
    validation, testing: shares of the photographs that are kept from training, to choose the penalty and to measure the accuracy.
    A photograph's side follows from its content alone. penalty: the strength of L2; None: chosen by the validation loss.
    balanced: classes with few photographs count as much as the others. augment: variants of each photograph for training.
    bottleneck: the tensor whose values are the features; default: what the last dense layer reads.
    force: replaces an output that another run, or another program, has written.
    Interrupted and run again, it goes on where it was, and ends with the same bits. Raises KigraphError and its kinds (WeightsError,
    CardError, GraphError, LoadError); a photograph that cannot be read is listed in the result.
    """
    options = Options(validation, testing, penalty, balanced, augment)
    options.check()
    files = files_of(output)
    model = _model(weights, backend, threads)
    return Run(os.fspath(folder), files, model, bottleneck, options, force, progress).result()


def files_of(output: str | os.PathLike[str]) -> Files:
    """The files of an output; GraphError for another suffix than .pb, KigraphError if its folder is not there."""
    path = Path(output)
    if path.suffix.lower() != ".pb":
        raise GraphError(f"{str(path)[:200]}: the new model is a frozen GraphDef; expected a name that ends in .pb")
    if not path.parent.is_dir():
        raise KigraphError(f"{path.parent}: no such folder, so {path.name} cannot be written there")
    return Files(path)


def _model(weights: str | os.PathLike[str] | Classifier | None, backend: str | None, threads: int | None) -> Classifier:
    from ..classifier import Classifier, load
    from ..weights.store import resolve_weights

    if isinstance(weights, Classifier):
        return weights
    return load(resolve_weights(weights).path, backend=backend, threads=threads)


@dataclass(slots=True)
class Run:
    """One run, step by step. ``say``: where notes go, line by line."""

    folder: str
    files: Files
    model: Classifier
    bottleneck: str | None
    options: Options
    force: bool = False
    progress: bool = True
    say: Callable[[str], None] = lambda line: None

    def result(self) -> Retrained:
        """Does all of it."""
        if self.model.path is None:
            raise GraphError(
                "retrain needs a model that was loaded from a file: its features are kept under the file's checksum"
            )
        known = None
        if os.path.lexists(self.files.model) and not self.force:
            known = read_record(self.files)
            if known is None:
                raise self._exists("no run of retrain has written it, or it was changed since")
        trunk = find_trunk(self.model, self.bottleneck)
        with self._bar("reading photographs", 0) as bar:
            found = collect(self.folder, lambda done, total: bar.update(done, total))
        key = trunk_key(trunk)
        mark = self._fingerprint(key, found)
        if known is not None:
            if known[0] == mark:
                return known[1]
            raise self._exists("it was made of other photographs, weights or options")
        with staging(self.files, self.force) as staged:
            return self._run(trunk, found, Store.of(key, (trunk.count,)), mark, staged)

    def _exists(self, why: str) -> KigraphError:
        return KigraphError(
            f"{self.files.model}: the file is there already: {why}; name another output, or replace it with --force (force=True)"
        )

    def _bar(self, what: str, total: int | None) -> Bar:
        bar = Bar(what, total or None, quiet=not self.progress)
        return bar

    def _fingerprint(self, key: str, found: Collection) -> str:
        photos = sorted((found.classes[p.label], p.digest) for p in found.photos)
        text = json.dumps([key, asdict(self.options), list(found.classes), photos]).encode()
        return str(blake2b(text, digest_size=20).hexdigest())

    def _run(self, trunk: Trunk, found: Collection, store: Store, mark: str, staged: Files) -> Retrained:
        photos = sorted(found.photos, key=lambda p: p.digest)  # the names of files change no bit
        computed = self._features(trunk, [Item(p.path, p.digest) for p in photos], store, "computing features")
        if computed.errors:
            without(found, [(item.path, text) for item, text in computed.errors])
        split(found, self.options.validation, self.options.testing)
        features = {item.digest: row for item, row in zip(computed.items, computed.features, strict=True)}
        data = {part: _data(found, part, features) for part in _PARTS}
        training = self._with_variants(trunk, found, store, data["training"])
        with self._bar("training the last layer", None) as bar:
            head = train_head(
                training, data["validation"], len(found.classes), penalty=self.options.penalty, balanced=self.options.balanced,
                threads=self.model.session.threads, on_row=lambda row: bar.update(int(row["epoch"]), what=_row_text(row)),
            )  # fmt: skip
        return self._finish(trunk, found, head, data, mark, staged)

    def _features(self, trunk: Trunk, items: Sequence[Item], store: Store, what: str) -> Computed:
        with self._bar(what, len(items)) as bar:
            computed = compute(trunk, items, store, on_photo=bar.update)
        made = len(items) - computed.kept
        self.say(f"{what}: {made:,} computed, {computed.kept:,} from the cache")
        return computed

    def _with_variants(self, trunk: Trunk, found: Collection, store: Store, plain: Data) -> Data:
        """The examples for training, with the variants of each."""
        if not self.options.augment:
            return plain
        photos = _ordered(found, "training")
        variants = range(1, self.options.augment + 1)
        items = [Item(p.path, p.digest, variant) for p in photos for variant in variants]
        labels = {p.digest: p.label for p in photos}
        computed = self._features(trunk, items, store, "computing features of variants")
        more = np.array([labels[item.digest] for item in computed.items], np.int64)
        return Data(np.concatenate([plain.features, computed.features]), np.concatenate([plain.labels, more]))

    def _finish(
        self, trunk: Trunk, found: Collection, head: Head, data: dict[Part, Data], mark: str, staged: Files
    ) -> Retrained:
        graph, card = join(trunk, head, found.classes)
        tested = _ordered(found, "testing")
        scores = head_scores(head, data["testing"].features, self.model.session.threads)
        measured = measure([p.path for p in tested], data["testing"].labels, scores, len(found.classes))
        save_graphdef(graph, staged.model)
        sha256 = Source(staged.model).sha256
        write_labels(staged.labels, found.classes)
        staged.card.write_text(json.dumps(card_document(card, sha256), indent=2) + "\n", encoding="utf-8")
        self._prove(staged, trunk, head, found, data)
        result = _result(self, trunk, found, head, measured)
        write_page(staged.page, result, found, measured)
        write_record(staged, result, mark, sha256)
        take_places(staged, self.files)
        return result

    def _prove(self, staged: Files, trunk: Trunk, head: Head, found: Collection, data: dict[Part, Data]) -> None:
        """GraphError unless the file that was written answers as the head does, for one photograph."""
        from ..classifier import load

        part: Part = next(p for p in ("testing", "validation", "training") if len(data[p]))
        photo = _ordered(found, part)[0]
        expected = head_scores(head, data[part].features[:1])[0]
        written = load(
            staged.model, backend=",".join(self.model.session.choice.order), threads=self.model.session.threads
        )
        answer = written.probabilities([photo.path] * (written.fixed_batch or 1))[0]
        worst = float(np.abs(answer - expected).max())
        if not worst <= _SAME:
            raise GraphError(
                f"{self.files.model}: the joined network answers otherwise than its parts: probabilities differ by {worst:.2g} for "
                f"{photo.path}; name the tensor to cut at with --bottleneck TENSOR (it was {trunk.name})"
            )


_PARTS: tuple[Part, ...] = ("training", "validation", "testing")


def _ordered(found: Collection, part: Part) -> list[Photo]:
    return sorted(found.of(part), key=lambda p: p.digest)


def _data(found: Collection, part: Part, features: dict[str, np.ndarray[Any, Any]]) -> Data:
    photos = _ordered(found, part)
    count = next(iter(features.values())).shape
    rows = np.stack([features[p.digest] for p in photos]) if photos else np.zeros((0, *count), np.float32)
    return Data(rows, np.array([p.label for p in photos], np.int64))


def _row_text(row: dict[str, float]) -> str:
    text = f"loss {row['loss']:.3g}"
    return f"{text}, validation {row['val_loss']:.3g}" if "val_loss" in row else text


def _result(run: Run, trunk: Trunk, found: Collection, head: Head, measured: Measured) -> Retrained:
    return Retrained(
        run.files.model, found.classes, measured.right, measured.total, measured.confusion, History(head.history), head.penalty,
        {"all": found.counts(), **{part: found.counts(part) for part in _PARTS}}, tuple(found.unreadable),
        tuple(_notes(found, measured)), run.model.name, trunk.name,
    )  # fmt: skip


def _notes(found: Collection, measured: Measured) -> list[str]:
    """What a user should know of the folder, one line each."""
    notes = [
        f"the same photograph is in {len(paths)} classes, and used in none: {'; '.join(paths)}"
        for paths in found.in_two
    ]
    if found.copies:
        path, other = found.copies[0]
        notes.append(f"{len(found.copies)} copies of photographs were left out; the first: {path} is {other}")
    notes += [
        f"{name}: the folder has no photograph of its own that can be read; it is no class" for name in found.empty
    ]
    notes += [
        f"{name}: all of its photographs would be for validation and testing; one of them is for training"
        for name in found.moved
    ]
    if found.beside:
        notes.append(f"{found.beside} photographs lie beside the sub-folders, in no class")
    if found.elsewhere:
        notes.append(
            f"{found.elsewhere} files in the sub-folders are no photographs by their names, and were not looked at"
        )
    untested = [found.classes[i] for i, n in enumerate(found.counts("testing")) if not n]
    if not measured.total:
        notes.append(
            "no photograph is for testing, so the accuracy is not known; add photographs, or raise the share of testing"
        )
    elif untested:
        more = f" and {len(untested) - 8} more" if len(untested) > 8 else ""
        notes.append(
            f"no photograph is for testing in: {', '.join(untested[:8])}{more}; nothing is known of their accuracy"
        )
    return notes
