"""What a run gives, and the files that it leaves: the model, its labels and card, the page, the record."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ..errors import KigraphError, LabelError
from ..kernels.atomic_files import check_writable
from ..train.history import History
from ..vision.labels import read_label_file
from .measures import wilson

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["Files", "Retrained", "read_record", "staging", "write_labels"]

_VERSION = 1


@dataclass(frozen=True, slots=True)
class Files:
    """Where the files of a result lie: beside the model, under names that begin with its name."""

    model: Path

    @property
    def labels(self) -> Path:
        return self.model.with_name(f"{self.model.stem}_labels.txt")

    @property
    def card(self) -> Path:
        return self.model.with_name(f"{self.model.name}.card.json")

    @property
    def page(self) -> Path:
        return self.model.with_name(f"{self.model.stem}_report.html")

    @property
    def record(self) -> Path:
        return self.model.with_name(f"{self.model.stem}.retrain.json")

    @property
    def staging(self) -> Path:
        """The folder in which they are written before they take their places, the model last."""
        return self.model.with_name(f".{self.model.name}.retrain")

    def within(self, folder: Path) -> Files:
        return Files(folder / self.model.name)

    @property
    def all(self) -> tuple[Path, ...]:
        """In the order in which they take their places."""
        return (self.labels, self.card, self.page, self.record, self.model)


@dataclass(frozen=True, slots=True)
class Retrained:
    """A finished run.

    path: the model's file. classes: labels in the order of the outputs. accuracy: the share of right answers on the photographs
    for testing, None if there are none; right, total: as counts. confusion: int64 (true class, answer) on the same. history: a row for
    each iteration. counts: photographs by part and class. unreadable: (file, reason). notes: what was found in the folder that a
    user should know. classifier: the model, loaded from ``path``.
    """

    path: Path
    classes: tuple[str, ...]
    right: int
    total: int
    confusion: np.ndarray[Any, Any]
    history: History
    penalty: float
    counts: dict[str, list[int]]
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    weights: str = ""
    bottleneck: str = ""
    resumed: bool = field(default=False, compare=False)

    @property
    def accuracy(self) -> float | None:
        return self.right / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the accuracy (Wilson)."""
        return wilson(self.right, self.total)

    @property
    def page(self) -> Path:
        """The report, one HTML page."""
        return Files(self.path).page

    @property
    def classifier(self) -> Classifier:
        """The new model, ready to classify."""
        from ..classifier import load

        return load(self.path)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``json.dumps``."""
        return {
            "model": os.fspath(self.path),
            "report": os.fspath(self.page),
            "classes": list(self.classes),
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "right": self.right,
            "total": self.total,
            "confusion": self.confusion.tolist(),
            "counts": self.counts,
            "penalty": self.penalty,
            "weights": self.weights,
            "bottleneck": self.bottleneck,
            "unreadable": [list(pair) for pair in self.unreadable],
            "notes": list(self.notes),
            "history": self.history.rows,
        }


def read_record(files: Files) -> tuple[str, Retrained] | None:
    """The fingerprint and result of the run that wrote the model at its place; None if none did, or the model was changed."""
    from ..graph.formats.source import Source

    try:
        found = json.loads(files.record.read_bytes())
        if found["kigraph_retrain"] != _VERSION or found["sha256"] != Source(files.model).sha256:
            return None
        classes = tuple(str(c) for c in found["classes"])
        confusion = np.array(found["confusion"], np.int64).reshape(len(classes), len(classes))
        result = Retrained(
            files.model, classes, int(found["right"]), int(found["total"]), confusion, History(found["history"]),
            float(found["penalty"]), {k: list(v) for k, v in found["counts"].items()},
            tuple((str(a), str(b)) for a, b in found["unreadable"]), tuple(map(str, found["notes"])),
            str(found["weights"]), str(found["bottleneck"]), True,
        )  # fmt: skip
        return str(found["fingerprint"]), result
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, KigraphError):
        return None


def write_record(files: Files, result: Retrained, fingerprint: str, sha256: str) -> None:
    """Writes what ``read_record`` reads."""
    found = {"kigraph_retrain": _VERSION, "fingerprint": fingerprint, "sha256": sha256, **result.to_json()}
    # A file's name that is no UTF-8 has half surrogates, which JSON escapes.
    files.record.write_text(json.dumps(found, indent=1) + "\n", encoding="ascii")


def write_labels(path: Path, classes: Sequence[str]) -> None:
    """One label a line; with numbers where the plain lines would be read as something else ('0 a', '1 b')."""
    for lines in (list(classes), [f"{i}:{name}" for i, name in enumerate(classes)]):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with contextlib.suppress(LabelError):
            if read_label_file(path).names == tuple(classes):
                return
    path.unlink()
    raise KigraphError(f"{path}: these labels cannot be written as a file of labels: {', '.join(classes)[:200]}")


@contextlib.contextmanager
def staging(files: Files, force: bool) -> Iterator[Files]:
    """A folder beside the model for files that are not complete; it is removed at the end, and kept by a run that is killed.

    Raises KigraphError where it cannot be made, another run has it, or files are in the way that no interrupted run has left.
    """
    folder = files.staging
    interrupted = folder.is_dir()
    in_the_way = [p for p in files.all if os.path.lexists(p) and p != files.model]
    if in_the_way and not (force or interrupted or files.model.exists()):
        raise KigraphError(
            f"{in_the_way[0]}: the file is there already, and no interrupted run has left it; move it, name another output, or replace "
            "it with --force (force=True)"
        )
    try:
        for path in files.all:
            check_writable(path)
        lock = _locked(folder)
    except BlockingIOError:
        raise KigraphError(
            f"{files.model}: another run is writing this model; wait for it, or name another output"
        ) from None
    except OSError as error:
        raise KigraphError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    with lock:
        for left in files.within(folder).all:
            left.unlink(missing_ok=True)
        try:
            yield files.within(folder)
        except OSError as error:
            if error.filename is None:
                error.filename = os.fspath(files.model)
            error.add_note("what was computed is kept in the cache folder; the same command goes on")
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except KeyboardInterrupt:
            raise  # the folder stays: what lies beside it is an interrupted run's
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> IO[bytes]:
    """The lock of a folder, which is made. BlockingIOError if another run has it, other OSErrors where it cannot be made."""
    import fcntl

    while True:
        folder.mkdir(exist_ok=True)
        try:
            lock = open(folder / "lock", "ab")  # noqa: SIM115
        except FileNotFoundError:
            continue  # its last run has just removed the folder
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), os.stat(folder / "lock")):
                    return lock
        except OSError as error:
            lock.close()
            raise OSError(error.errno, error.strerror, os.fspath(folder / "lock")) from None
        lock.close()


def take_places(staged: Files, files: Files) -> None:
    """Moves complete files to their places, each in one step, the model last.

    A model that is replaced goes first: a run that is killed between leaves none, never an old one with new labels.
    """
    for new in staged.all:
        _to_disk(new)
    files.model.unlink(missing_ok=True)
    _names_to_disk(files.model.parent)
    for new, old in zip(staged.all, files.all, strict=True):
        os.replace(new, old)
    _names_to_disk(files.model.parent)


def _names_to_disk(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems of networks cannot do that for a folder
        _to_disk(folder)


def _to_disk(path: Path) -> None:
    """What is written of a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
