"""``retrain``: a folder of photographs and a trained network to a new classifier, from the first file to the report."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import GraphError, ImageError, KigraphError
from ..graph.formats.source import Source
from ..graph.writers.graphdef import save_graphdef
from ..kernels.digest import blake2b
from ..progress import Bar, Pace
from ..train.history import History
from ..vision.decode import read_image
from ..weights.card_file import card_document
from .blocks import Blocks, last_blocks
from .features import Computed, Examples, Inputs, Item, Progress, Store, Values, compute, trunk_key
from .finetune import FineTuning, Rows, fine_tune, require_slopes
from .head import Data, Features, Head, train_head
from .joined import head_scores, join
from .measures import measure
from .page import write_page
from .photos import Collection, Part, Photo, collect, digest_of, notes_of, split, without
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
            raise KigraphError(f"the penalty of L2 must be above 0 and at most 1e6, got {self.penalty!r}")
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
        blocks = self._blocks(trunk)
        with self._bar("reading photographs", 0) as bar:
            found = collect(self.folder, lambda done, total: bar.update(done, total))
        key = trunk_key(trunk)
        mark = self._fingerprint(key, found)
        if known is not None:
            if known[0] == mark:
                return known[1]
            raise self._exists("it was made of other photographs, weights or options")
        with staging(self.files, self.force) as staged:
            return self._run(trunk, blocks, found, Store.of(key, (trunk.count,)), mark, staged)

    def _blocks(self, trunk: Trunk) -> Blocks | None:
        """The blocks that are to be trained; a trunk that does not do is refused before any feature is computed."""
        if not self.options.fine_tune:
            return None
        if trunk.batch is not None:
            raise GraphError(
                f"--fine-tune needs a network that takes any number of images; {self.model.name} takes {trunk.batch}"
            )
        blocks = last_blocks(trunk.graph, self.options.fine_tune)
        if None in (blocks.start.shape or (None,))[1:]:
            raise GraphError(f"--fine-tune: the size of {blocks.start.name} is not known: {blocks.start.type}")
        require_slopes(trunk, blocks)
        return blocks

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

    def _run(
        self, trunk: Trunk, blocks: Blocks | None, found: Collection, store: Store, mark: str, staged: Files
    ) -> Retrained:
        photos = sorted(found.photos, key=lambda p: p.digest)  # the names of files change no bit
        items = [Item(p.path, p.digest) for p in photos]

        def plain(items: Sequence[Item], on_photo: Progress) -> Computed[Features]:
            return compute(trunk, items, store, on_photo=on_photo)

        computed = self._computed(plain, items, "computing features")
        inputs = None if blocks is None else Inputs(trunk, blocks.start, store)
        inner = None if inputs is None else self._computed(inputs.compute, items, "computing the blocks' inputs")
        errors = {item.path: text for c in (computed, inner) if c is not None for item, text in c.errors}
        if errors:
            without(found, list(errors.items()))
        split(found, self.options.validation, self.options.testing)
        features = {item.digest: row for item, row in zip(computed.items, computed.features, strict=True)}
        data = {part: _data(found, part, features) for part in _PARTS}
        variants = self._variants(found)
        more = self._computed(plain, variants, "computing features of variants") if variants else None
        with self._bar("training the last layer", None) as bar:
            head = train_head(
                data["training"] if more is None else _joined(found, data["training"], more), data["validation"],
                len(found.classes), penalty=self.options.penalty, balanced=self.options.balanced,
                threads=self.model.session.threads, on_row=lambda row: bar.update(int(row["epoch"]), what=_row_text(row)),
            )  # fmt: skip
        changed = any(c is not None and c.changed for c in (computed, inner, more))
        if inputs is None or blocks is None:
            answers = _Answers(head, data, partial(head_scores, head, session_threads=self.model.session.threads))
        else:
            answers, lost = self._tuned(trunk, blocks, inputs, found, variants, head, mark)
            changed = changed or lost
        # Without the photographs that went away meanwhile it is not what this folder gives: another run must not take it for that.
        return self._finish(trunk, found, answers, f"{mark} changed" if changed else mark, staged)

    def _variants(self, found: Collection) -> list[Item]:
        variants = range(1, self.options.augment + 1)
        return [Item(p.path, p.digest, variant) for p in _ordered(found, "training") for variant in variants]

    def _computed(
        self, compute: Callable[[Sequence[Item], Progress], Computed[Values]], items: Sequence[Item], what: str
    ) -> Computed[Values]:
        with Pace(what, len(items), unit="photographs", quiet=not self.progress) as pace:

            def on_photo(done: int, missing: int) -> None:
                pace.skip(len(items) - missing)
                if missing:
                    pace.update(len(items) - missing + done)

            computed = compute(items, on_photo)
        made, wrong = len(computed.items) - computed.kept, len(computed.errors)
        rest = f", {wrong:,} cannot be read" if wrong else ""
        self.say(f"{what}: {made:,} computed, {computed.kept:,} from the cache{rest}")
        return computed

    def _tuned(
        self,
        trunk: Trunk,
        blocks: Blocks,
        inputs: Inputs,
        found: Collection,
        variants: Sequence[Item],
        head: Head,
        mark: str,
    ) -> tuple[_Answers, bool]:
        """The same with the last blocks trained, what goes into the first of them read from the cache; whether files went meanwhile."""
        tried = (
            self._computed(inputs.compute, variants, "computing the blocks' inputs of variants") if variants else None
        )
        photos = {part: [Item(p.path, p.digest) for p in _ordered(found, part)] for part in _PARTS}
        number = {p.digest: p.label for p in found.photos}

        def examples(items: Sequence[Item]) -> Examples:
            return Examples(inputs.kept(items), np.array([number[item.digest] for item in items], np.int64))

        data = {part: examples(photos[part]) for part in _PARTS}
        training = examples([*photos["training"], *(tried.items if tried is not None else ())])
        options = FineTuning(self.options.epochs, self.options.learning_rate)
        with self._bar("fine-tuning", options.epochs) as bar:
            tuned = fine_tune(
                trunk, blocks, head, training, data["validation"], options, mark, balanced=self.options.balanced,
                on_row=lambda row: bar.update(what=f"fine-tuning, {_row_text(row)}"),
            )  # fmt: skip
        answers = _Answers(tuned.head, data, tuned.scores, tuned.constants)
        return answers, tried is not None and tried.changed

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

        photo, data, inputs = self._witness(found, answers)
        expected = answers.scores(inputs)[0]
        written = load(
            staged.model, backend=",".join(self.model.session.choice.order), threads=self.model.session.threads
        )
        answer = written.probabilities([data] * (written.fixed_batch or 1))[0]
        worst = float(np.abs(answer - expected).max())
        if not worst <= _SAME:
            raise GraphError(
                f"{self.files.model}: the joined network answers otherwise than its parts: probabilities differ by {worst:.2g} for "
                f"{photo.path}; name the tensor to cut at with --bottleneck TENSOR (it was {trunk.name})"
            )

    def _witness(self, found: Collection, answers: _Answers) -> tuple[Photo, bytes, Rows]:
        """A photograph that is still what it was, and what answers to it; files may have gone during a long training."""
        for part in ("testing", "validation", "training"):
            for at, photo in enumerate(_ordered(found, part)):
                with suppress(ImageError):
                    data = read_image(photo.path)
                    if digest_of(data) == photo.digest:
                        return photo, data, answers.data[part].features[at : at + 1]
        raise KigraphError(
            f"{found.root}: no photograph can be read any more, so the new network could not be checked; nothing was written; give "
            "the same command again when they are there: what was computed is kept"
        )


@dataclass(frozen=True, slots=True)
class _Answers:
    """A head, the values it is asked for by part, its probabilities for such values, and what changed in the trunk."""

    head: Head
    data: Mapping[Part, Data | Examples]
    scores: Callable[[Any], np.ndarray[Any, Any]]
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)


_PARTS: tuple[Part, ...] = ("training", "validation", "testing")


def _ordered(found: Collection, part: Part) -> list[Photo]:
    return sorted(found.of(part), key=lambda p: p.digest)


def _data(found: Collection, part: Part, features: dict[str, np.ndarray[Any, Any]]) -> Data:
    photos = _ordered(found, part)
    count = next(iter(features.values())).shape
    rows = np.stack([features[p.digest] for p in photos]) if photos else np.zeros((0, *count), np.float32)
    return Data(rows, np.array([p.label for p in photos], np.int64))


def _joined(found: Collection, plain: Data, more: Computed[Features]) -> Data:
    """The examples for training with the variants of each."""
    number = {p.digest: p.label for p in found.photos}
    labels = np.array([number[item.digest] for item in more.items], np.int64)
    return Data(np.concatenate([plain.features, more.features]), np.concatenate([plain.labels, labels]))


def _row_text(row: dict[str, float]) -> str:
    text = f"loss {row['loss']:.3g}"
    return f"{text}, validation {row['val_loss']:.3g}" if "val_loss" in row else text
