"""``retrain``: a folder of photographs and a trained network to a new classifier, from the first file to the report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import GraphError, KigraphError
from ..graph.formats.source import Source
from ..graph.writers.graphdef import save_graphdef
from ..kernels.digest import blake2b
from ..progress import Bar
from ..train.history import History
from ..weights.card_file import card_document
from .blocks import last_blocks
from .features import Computed, Item, Store, compute, trunk_key
from .finetune import FineTuning, fine_tune
from .head import Data, Head, train_head
from .joined import head_scores, join
from .measures import measure
from .page import write_page
from .photos import Collection, Part, Photo, collect, digest_of, notes_of, split, without
from .result import Files, Retrained, read_record, staging, take_places, write_labels, write_record
from .trunk import IMAGES, Trunk, find_trunk

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["Options", "Run", "files_of", "retrain"]

#: How far the saved file's probabilities may be from those of the head, which sees features of batches.
_SAME = 1e-3
_MOST_VARIANTS = 32
Runner: TypeAlias = "Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]"


@dataclass(frozen=True, slots=True)
class Options:
    """What decides how a head is trained, apart from photographs and weights; see ``retrain``."""

    validation: float = 0.1
    testing: float = 0.1
    penalty: float | None = None
    balanced: bool = True
    augment: int = 0
    fine_tune: int = 0
    epochs: int = 10
    learning_rate: float = 1e-3

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
        if not 0 <= self.fine_tune <= 1000 or not 1 <= self.epochs <= 10_000:
            raise KigraphError(
                f"fine_tune must be 0 to 1000 blocks, epochs 1 to 10000, got {self.fine_tune!r} and {self.epochs!r}"
            )
        if not 0 < self.learning_rate <= 10:
            raise KigraphError(f"the learning rate must be above 0 and at most 10, got {self.learning_rate!r}")


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
    fine_tune: int = 0,
    epochs: int = 10,
    learning_rate: float = 1e-3,
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
    fine_tune: how many of the trunk's last blocks are trained, too, for up to ``epochs`` epochs with ``learning_rate``; batch norm stays
    as it is, and the epoch with the least validation loss is kept.
    bottleneck: the tensor whose values are the features; default: what the last dense layer reads.
    force: replaces an output that another run, or another program, has written.
    Interrupted and run again, it goes on where it was, and ends with the same bits. Raises KigraphError and its kinds (WeightsError,
    CardError, GraphError, LoadError); a photograph that cannot be read is listed in the result.
    """
    options = Options(validation, testing, penalty, balanced, augment, fine_tune, epochs, learning_rate)
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
        answers = _Answers(head, data, partial(head_scores, head, session_threads=self.model.session.threads))
        if self.options.fine_tune:
            answers = self._tuned(trunk, found, store, head, mark)
        return self._finish(trunk, found, answers, mark, staged)

    def _features(
        self, trunk: Trunk, items: Sequence[Item], store: Store, what: str, run: Runner | None = None
    ) -> Computed:
        with self._bar(what, len(items)) as bar:
            computed = compute(trunk, items, store, run, on_photo=bar.update)
        made = len(items) - computed.kept
        self.say(f"{what}: {made:,} computed, {computed.kept:,} from the cache")
        return computed

    def _with_variants(
        self, trunk: Trunk, found: Collection, store: Store, plain: Data, run: Runner | None = None
    ) -> Data:
        """The examples for training, with the variants of each."""
        if not self.options.augment:
            return plain
        photos = _ordered(found, "training")
        variants = range(1, self.options.augment + 1)
        items = [Item(p.path, p.digest, variant) for p in photos for variant in variants]
        labels = {p.digest: p.label for p in photos}
        computed = self._features(trunk, items, store, "computing features of variants", run)
        more = np.array([labels[item.digest] for item in computed.items], np.int64)
        return Data(np.concatenate([plain.features, computed.features]), np.concatenate([plain.labels, more]))

    def _tuned(self, trunk: Trunk, found: Collection, store: Store, head: Head, mark: str) -> _Answers:
        """The same with the last blocks trained: what goes into the first of them is computed once, as features are."""
        if trunk.batch is not None:
            raise GraphError(
                f"--fine-tune needs a network that takes any number of images; {self.model.name} takes {trunk.batch}"
            )
        blocks = last_blocks(trunk.graph, self.options.fine_tune)
        sizes = (blocks.start.shape or ())[1:]
        if None in sizes:
            raise GraphError(f"--fine-tune: the size of {blocks.start.name} is not known: {blocks.start.type}")
        inner = Store.of(
            f"{store.folder.name}-{digest_of(blocks.start.name.encode())[:12]}", tuple(d for d in sizes if d)
        )

        def run(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.asarray(trunk.session.run(blocks.start, {IMAGES: images}), np.float32)

        photos = sorted(found.photos, key=lambda p: p.digest)
        items = [Item(p.path, p.digest) for p in photos]
        computed = self._features(trunk, items, inner, "computing the blocks' inputs", run)
        values = {item.digest: row for item, row in zip(computed.items, computed.features, strict=True)}
        data = {part: _data(found, part, values) for part in _PARTS}
        training = self._with_variants(trunk, found, inner, data["training"], run)
        options = FineTuning(self.options.epochs, self.options.learning_rate)
        with self._bar("fine-tuning", options.epochs) as bar:
            tuned = fine_tune(
                trunk, blocks, head, training, data["validation"], options, mark, balanced=self.options.balanced,
                on_row=lambda row: bar.update(what=f"fine-tuning, {_row_text(row)}"),
            )  # fmt: skip
        return _Answers(tuned.head, data, tuned.scores, tuned.constants)

    def _finish(self, trunk: Trunk, found: Collection, answers: _Answers, mark: str, staged: Files) -> Retrained:
        graph, card = join(trunk, answers.head, found.classes, answers.constants)
        tested, data = _ordered(found, "testing"), answers.data["testing"]
        measured = measure([p.path for p in tested], data.labels, answers.scores(data.features), len(found.classes))
        save_graphdef(graph, staged.model)
        sha256 = Source(staged.model).sha256
        write_labels(staged.labels, found.classes)
        staged.card.write_text(json.dumps(card_document(card, sha256), indent=2) + "\n", encoding="utf-8")
        self._prove(staged, trunk, found, answers)
        result = Retrained(
            self.files.model, found.classes, measured.right, measured.total, measured.confusion, History(answers.head.history),
            answers.head.penalty, {"all": found.counts(), **{part: found.counts(part) for part in _PARTS}},
            tuple(found.unreadable), tuple(notes_of(found)), self.model.name, trunk.name,
        )  # fmt: skip
        write_page(staged.page, result, found, measured)
        write_record(staged, result, mark, sha256)
        take_places(staged, self.files)
        return result

    def _prove(self, staged: Files, trunk: Trunk, found: Collection, answers: _Answers) -> None:
        """GraphError unless the file that was written answers as its parts do, for one photograph."""
        from ..classifier import load

        part: Part = next(p for p in ("testing", "validation", "training") if len(answers.data[p]))
        photo = _ordered(found, part)[0]
        expected = answers.scores(answers.data[part].features[:1])[0]
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


@dataclass(frozen=True, slots=True)
class _Answers:
    """A head, the values it is asked for by part, its probabilities for such values, and what changed in the trunk."""

    head: Head
    data: dict[Part, Data]
    scores: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


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
