"""A folder of photographs, one sub-folder for each class: what is in it, and which photograph is for training, validation, test."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ..errors import ImageError, KigraphError
from ..kernels.digest import blake2b
from ..vision.decode import read_image
from ..vision.files import SUFFIXES, SYSTEM_FOLDERS
from ..vision.labels import clean_label

__all__ = [
    "Collection",
    "Part",
    "Photo",
    "collect",
    "digest_of",
    "label_of",
    "notes_of",
    "split",
    "without",
]

Part: TypeAlias = Literal["training", "validation", "testing"]
_DIGEST = 20


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph: its file, the number of its class, the digest of its content, and what it is for."""

    path: str
    label: int
    digest: str
    part: Part = "training"


@dataclass(slots=True)
class Collection:
    """What a folder has. ``classes``: labels in the order of their numbers, ``folders``: their folders' names.

    unreadable: (file, reason). copies: (file, the equal one that is used). in_two: files of equal content in several classes,
    used in none. links: links to
    folders, which were not followed. elsewhere: files that are no photographs by their names, and photographs beside the sub-folders.
    """

    root: str
    classes: tuple[str, ...] = ()
    photos: list[Photo] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    in_two: list[tuple[str, ...]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    elsewhere: int = 0
    beside: int = 0

    def of(self, part: Part) -> list[Photo]:
        """The photographs of one part, in the order of files."""
        return [p for p in self.photos if p.part == part]

    def counts(self, part: Part | None = None) -> list[int]:
        """How many photographs each class has, in all or in one part."""
        found = [0] * len(self.classes)
        for photo in self.photos:
            found[photo.label] += part in (None, photo.part)
        return found


def digest_of(data: bytes) -> str:
    """The digest of a file's content, 40 hexadecimal digits."""
    found: str = blake2b(data, digest_size=_DIGEST).hexdigest()
    return found


def collect(
    folder: str | os.PathLike[str], on_file: Callable[[int, int], None] = lambda done, total: None
) -> Collection:
    """All photographs of a folder, by class; every file is read once, for its digest.

    A class is a sub-folder with a photograph in any depth. Links to folders inside of a class are not followed. Files whose
    names begin with a dot, such folders, and those of desktop systems are left out. on_file: called with files read, and files in all.
    Raises KigraphError where the folder cannot be read or has fewer than two classes.
    """
    root = os.fspath(folder)
    names, beside = _sub_folders(root)
    found = Collection(root, beside=beside)
    files: list[tuple[str, list[str]]] = []
    for name in names:
        inside, others = _files(os.path.join(root, name), found)
        found.elsewhere += others
        files.append((name, inside))
    total, done = sum(len(inside) for _, inside in files), 0
    read: list[tuple[str, dict[str, str]]] = []
    for name, inside in files:
        known: dict[str, str] = {}
        for path in inside:
            done += 1
            on_file(done, total)
            try:
                digest = digest_of(read_image(path))
            except ImageError as error:
                found.unreadable.append((path, str(error)))
                continue
            if digest in known:
                found.copies.append((path, known[digest]))
            else:
                known[digest] = path
        read.append((name, known))
    _take(found, read)
    _require(found)
    return found


def _take(found: Collection, read: Sequence[tuple[str, dict[str, str]]]) -> None:
    """Classes and photographs of what was read; a photograph of several classes teaches none of them."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for _, known in read:
        for digest, path in known.items():
            places[digest].append(path)
    found.in_two = [tuple(paths) for paths in places.values() if len(paths) > 1]
    labels: dict[str, str] = {}
    for name, known in read:
        mine = {d: p for d, p in known.items() if len(places[d]) == 1}
        if not mine:
            found.empty.append(name)
            continue
        label = label_of(name)
        if label in labels:
            raise KigraphError(
                f"{found.root}: the folders {labels[label]!r} and {name!r} give the same label {label!r}; rename one of them"
            )
        number = len(labels)
        labels[label] = name
        found.photos += [Photo(path, number, digest) for digest, path in mine.items()]
    found.classes = tuple(labels)


def label_of(folder: str) -> str:
    """The label of a class for the name of its folder, which may be any bytes: printable text on one line."""
    text = os.fsencode(folder).decode("utf-8", "replace")
    return clean_label(" ".join(text.split())) or "?"


def _sub_folders(root: str) -> tuple[list[str], int]:
    """Names of the sub-folders in order, and how many photographs lie beside them."""
    try:
        with os.scandir(root) as entries:
            listed = [(e.name, os.path.isdir(e.path)) for e in entries if not _hidden(e.name)]
    except NotADirectoryError:
        raise KigraphError(
            f"{root[:200]}: a file; expected a folder with one sub-folder of photographs for each class"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise KigraphError(f"{root[:200]}: the folder cannot be read: {reason}") from None
    folders = sorted((n for n, is_folder in listed if is_folder), key=os.fsencode)
    beside = sum(not is_folder and n.lower().endswith(SUFFIXES) for n, is_folder in listed)
    return folders, beside


def _hidden(name: str) -> bool:
    """Whether a file or folder belongs to a desktop system or a storage server."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _files(folder: str, collection: Collection) -> tuple[list[str], int]:
    """Photographs of a folder in all depths, in the order of their names' bytes, and how many other files there are."""

    def refused(error: OSError) -> None:
        path = str(error.filename or folder)
        collection.unreadable.append((path, f"{path}: the folder cannot be read: {error.strerror}"))

    found: list[str] = []
    others = 0
    for path, folders, names in os.walk(folder, onerror=refused):
        folders[:] = [f for f in folders if not _hidden(f)]
        collection.links += [p for f in folders if os.path.islink(p := os.path.join(path, f))]
        for name in names:
            if name.startswith("."):
                continue
            if name.lower().endswith(SUFFIXES):
                found.append(os.path.join(path, name))
            else:
                others += 1
    return sorted(found, key=os.fsencode), others


def _require(found: Collection) -> None:
    """KigraphError that says what is wrong, where there are not two classes with photographs."""
    if len(found.classes) >= 2:
        return
    where = f"{found.root[:200]}: "
    if not found.classes and found.unreadable:
        _, reason = found.unreadable[0]
        raise KigraphError(f"{where}none of {len(found.unreadable)} photographs can be read; the first: {reason[:500]}")
    there = f"one class, {found.classes[0]!r}" if found.classes else "no sub-folder with photographs"
    beside = f"; {found.beside} photographs lie beside the sub-folders, in no class" if found.beside else ""
    empty = f"; without photographs of their own: {', '.join(map(repr, found.empty[:5]))}" if found.empty else ""
    if found.in_two:
        empty += (
            f"; {len(found.in_two)} photographs are in several classes and used in none: {'; '.join(found.in_two[0])}"
        )
    if found.elsewhere:
        empty += f"; {found.elsewhere} files in the sub-folders are no photographs by their names (.heic and .tif are not read)"
    raise KigraphError(
        f"{where}{there}{beside}{empty}; expected at least two sub-folders, one for each class, with photographs in them "
        f"({', '.join(SUFFIXES)})"
    )


def without(found: Collection, errors: Sequence[tuple[str, str]]) -> None:
    """Takes out files that turned out to be no images; a class that loses all of its photographs is empty.

    Raises KigraphError where fewer than two classes are left.
    """
    bad = {path for path, _ in errors}
    found.unreadable += errors
    kept = [p for p in found.photos if p.path not in bad]
    left = sorted({p.label for p in kept})
    found.empty += [name for label, name in enumerate(found.classes) if label not in left]
    found.classes = tuple(found.classes[label] for label in left)
    number = {label: at for at, label in enumerate(left)}
    found.photos = [Photo(p.path, number[p.label], p.digest, p.part) for p in kept]
    _require(found)


def split(found: Collection, validation: float, testing: float) -> None:
    """Says of each photograph what it is for, by the digest of its content alone.

    validation, testing: shares from 0 to 1. So a photograph stays on its side when others are added. Only a class that would have
    none for training lends one: the one that is next to the limit; ``moved`` names such classes.
    """
    parts = [Photo(p.path, p.label, p.digest, _part(p.digest, validation, testing)) for p in found.photos]
    for label, name in enumerate(found.classes):
        mine = [at for at, p in enumerate(parts) if p.label == label]
        if all(parts[at].part != "training" for at in mine):
            at = max(mine, key=lambda i: (_place(parts[i].digest), parts[i].digest))
            parts[at] = Photo(parts[at].path, label, parts[at].digest)
            found.moved.append(name)
    found.photos = parts


def _place(digest: str) -> float:
    """A photograph's place from 0 to 1: uniform, and the same for ever."""
    salted = blake2b(b"kigraph retrain split 1\0" + digest.encode(), digest_size=8).digest()
    return int.from_bytes(salted, "big") / 2.0**64


def _part(digest: str, validation: float, testing: float) -> Part:
    place = _place(digest)
    return "testing" if place < testing else "validation" if place < testing + validation else "training"


def notes_of(found: Collection) -> list[str]:
    """What a user should know of the folder, one line each."""
    notes = [
        f"the same photograph is in {len(paths)} classes, and used in none: {'; '.join(paths)}"
        for paths in found.in_two
    ]
    if found.copies:
        path, other = found.copies[0]
        notes.append(f"{len(found.copies)} copies of photographs were left out; the first: {path} is {other}")
    if found.empty:
        notes.append(f"{_some(found.empty)}: the folder has no photograph of its own that can be read; it is no class")
    if found.moved:
        notes.append(
            f"{_some(found.moved)}: all photographs would be for validation and testing; one of them is for training"
        )
    if found.links:
        more = f" and {len(found.links) - 1} more" if len(found.links) > 1 else ""
        notes.append(f"{min(found.links)}{more}: links to folders are not followed inside of classes")
    if found.beside:
        notes.append(f"{found.beside} photographs lie beside the sub-folders, in no class")
    if found.elsewhere:
        notes.append(
            f"{found.elsewhere} files in the sub-folders are no photographs by their names, and were not looked at"
        )
    untested = [found.classes[i] for i, n in enumerate(found.counts("testing")) if not n]
    if not any(found.counts("testing")):
        notes.append(
            "no photograph is for testing, so the accuracy is not known; add photographs, or raise the share of testing"
        )
    elif untested:
        notes.append(f"no photograph is for testing in: {_some(untested)}; nothing is known of their accuracy")
    return notes


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{', '.join(names[:8])}{more}"
