"""Photographs in folders as examples: a sub-folder for each class, decoded in threads while the model computes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from ..errors import GraphError, ImageError
from ..vision import Normalization, Preprocessing, decode_image, read_image
from ..vision.files import SUFFIXES, SYSTEM_FOLDERS
from ..vision.pipeline import decoded
from .data import Batch

__all__ = ["Augment", "Folder", "flip", "folder", "shift"]

Image: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"
#: (image (height, width, 3), its own generator) -> image of the same shape.
Augment = Callable[[Image, np.random.Generator], Image]

_LOG = logging.getLogger("kigraph")


def flip(image: Image, rng: np.random.Generator) -> Image:
    """Left and right exchanged, every other time."""
    return image[:, ::-1] if rng.random() < 0.5 else image


def shift(share: float) -> Augment:
    """Moves by up to ``share`` of height and width; the pixels at the edges are repeated."""

    def augment(image: Image, rng: np.random.Generator) -> Image:
        rows, columns = (
            np.clip(np.arange(n) + round(rng.uniform(-share, share) * n), 0, n - 1) for n in image.shape[:2]
        )
        moved: Image = image[rows][:, columns]
        return moved

    return augment


@dataclass(slots=True)
class Folder:
    """Photographs and their classes: a source for ``Model.fit`` and ``Model.evaluate``. Made by ``folder``.

    paths: of the files, in the order of classes and names. labels (files,) int64: their classes. classes: names.
    Batches are float32 (examples, height, width, 3), (pixel - mean) / std. A file that cannot be decoded is left out, with one
    warning of the logger ``kigraph``; ``unreadable`` has all of them.
    """

    paths: tuple[bytes, ...]
    labels: np.ndarray[Any, np.dtype[np.int64]]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    augment: tuple[Augment, ...] = ()
    workers: int | None = None
    ahead: int = 64
    drop_last: bool = False
    unreadable: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"<Folder of {len(self)} photographs in {len(self.classes)} classes, {self.preprocessing}>"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return (*self.preprocessing.size, 3)

    def split(self, share: float, seed: int = 0) -> tuple[Folder, Folder]:
        """(the rest, ``share`` of every class by chance); each class keeps one file at least. The second has no augmentation."""
        if not 0 < share < 1:
            raise GraphError(f"split: share must be between 0 and 1, got {share!r}")
        rng, held = np.random.default_rng(seed), np.zeros(len(self), bool)
        for number in range(len(self.classes)):
            members = np.flatnonzero(self.labels == number)
            count = min(max(round(share * len(members)), 1), len(members) - 1)
            held[rng.permutation(members)[: max(count, 0)]] = True
        if not held.any():
            raise GraphError(f"split: {len(self)} photographs are too few to hold some back; a class needs 2")
        return self._part(~held, self.augment), self._part(held, ())

    def _part(self, chosen: np.ndarray[Any, Any], augment: tuple[Augment, ...]) -> Folder:
        paths = tuple(self.paths[i] for i in np.flatnonzero(chosen))
        return replace(self, paths=paths, labels=self.labels[chosen], augment=augment, unreadable={})

    def count(self, size: int) -> int | None:
        return len(self) // size if self.drop_last else -(-len(self) // size)

    def batches(self, size: int, rng: np.random.Generator | None) -> Iterator[Batch]:
        """The batches of one epoch; with ``rng`` in a random order and augmented, each photograph by a generator of its own."""
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        seed = None if rng is None else int(rng.integers(1 << 62))

        def prepare(number: int) -> Image:
            name = os.fsdecode(self.paths[number])
            image = self.preprocessing(decode_image(read_image(name), name=name))
            if seed is not None:
                own = np.random.default_rng([seed, number])
                for change in self.augment:
                    image = change(image, own)
            return image

        images: list[Image] = []
        labels: list[int] = []
        found = decoded((int(i) for i in order), prepare, workers=self.workers, ahead=self.ahead)
        try:
            for item in found:
                if item.image is None:
                    self._skip(item.source, item.error)
                    continue
                if item.image.shape != self.input_shape:
                    raise GraphError(
                        f"an augmentation gave an image of shape {item.image.shape}, expected {self.input_shape}"
                    )
                images.append(item.image)
                labels.append(int(self.labels[item.source]))
                if len(images) == size:
                    yield Batch(np.stack(images), np.array(labels))
                    images, labels = [], []
        finally:
            found.close()
        if images and not self.drop_last:
            yield Batch(np.stack(images), np.array(labels))

    def _skip(self, number: int, error: ImageError | None) -> None:
        name = os.fsdecode(self.paths[number])
        if name not in self.unreadable:
            self.unreadable[name] = str(error)
            _LOG.warning("left out of the training: %s", str(error).encode("utf-8", "backslashreplace").decode())


def folder(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    *,
    mean: float = 0.0,
    std: float = 255.0,
    augment: Sequence[Augment] = (),
    workers: int | None = None,
    ahead: int = 64,
    drop_last: bool = False,
    rule: str = "keras_bilinear",
) -> Folder:
    """The photographs below a folder that has a sub-folder for each class, in the order of the sub-folders' names.

    size: (height, width) of every image. mean, std: pixels 0 to 255 become (pixel - mean) / std; a model that is to be saved has
    the same ``pixel_scale``. augment: changes by chance in training, such as ``flip`` and ``shift(0.1)``; called in threads.
    workers: threads that decode; ahead: images held at most. drop_last: leaves out a last batch that is not full.
    Files are taken by their suffix (.jpg, .png, .gif, .bmp, .webp, ...), at any depth; names that begin with a dot are left out.
    Raises GraphError if there is no folder, no class, or a class without a photograph.
    """
    top = os.fsencode(path)
    if not os.path.isdir(top):
        raise GraphError(
            f"{os.fspath(path)!r} is no folder; expected one with a sub-folder of photographs for each class"
        )
    names = sorted(e.name for e in os.scandir(top) if os.path.isdir(e.path) and not _hidden(e.name))
    if not names:
        raise GraphError(
            f"{os.fspath(path)!r} has no sub-folders; expected one for each class, such as roses/ and tulips/ with photographs"
        )
    paths: list[bytes] = []
    labels: list[int] = []
    for number, name in enumerate(names):
        found = _photographs(os.path.join(top, name))
        if not found:
            known = ", ".join(sorted(SUFFIXES))
            raise GraphError(
                f"{os.fsdecode(os.path.join(top, name))!r} has no photographs (files that end in {known}); "
                "add some, or remove the folder"
            )
        paths += found
        labels += [number] * len(found)
    classes = tuple(name.decode("utf-8", "backslashreplace") for name in names)
    preprocessing = Preprocessing(tuple(size), rule, Normalization((mean,) * 3, (std,) * 3))  # type: ignore[arg-type]
    return Folder(
        tuple(paths), np.array(labels, np.int64), classes, preprocessing, tuple(augment), workers, ahead, drop_last
    )


def _hidden(name: bytes) -> bool:
    return name.startswith(b".") or os.fsdecode(name) in SYSTEM_FOLDERS


def _photographs(top: bytes) -> list[bytes]:
    found: list[bytes] = []
    for place, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if not _hidden(f))
        found += [
            os.path.join(place, file)
            for file in files
            if not file.startswith(b".") and os.path.splitext(os.fsdecode(file))[1].lower() in SUFFIXES
        ]
    return sorted(found)
