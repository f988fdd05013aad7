"""The features of photographs, computed once for each and kept in the cache folder, by content and by trunk.

Layout: ``CACHE/bottlenecks/<trunk>/<first two digits>/<digest of the photograph>[-variant]``, sealed (kernels/cache_files.py). A file is
there when it is complete, so any number of processes may work at once, and an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from ..errors import ImageError, KigraphError, LoadError, RunError
from ..graph.builder import Tensor
from ..kernels.cache_files import UnsafeFileError, read_sealed, write_sealed
from ..kernels.digest import blake2b
from ..kernels.room import require
from ..kernels.settings import cache_folder
from ..many import Lanes, chunks_of, lanes_of
from ..vision.decode import read_image
from ..vision.pipeline import Decoded, decoded, default_workers, in_order
from .augment import varied
from .photos import digest_of
from .trunk import IMAGES, Trunk, file_digest

__all__ = [
    "FOLDER",
    "Computed",
    "Examples",
    "Inputs",
    "Item",
    "Kept",
    "Progress",
    "Store",
    "Values",
    "compute",
    "trunk_key",
]

_LOG = logging.getLogger("kigraph")
FOLDER = "bottlenecks"
_FORMAT = 1

Features: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"


@dataclass(frozen=True, slots=True)
class Item:
    """A photograph (variant 0), or one of its variants."""

    path: str
    digest: str
    variant: int = 0


def trunk_key(trunk: Trunk) -> str:
    """What features depend on besides the photograph: weights, place of the cut, preparation of images, backend, numerics."""
    model, card = trunk.model, trunk.model.require_card()
    assert model.path is not None
    facts = {
        "format": _FORMAT,
        "weights": file_digest(model.path),
        "tensor": trunk.name,
        "pool": trunk.pool,
        "count": trunk.count,
        "card": {
            k: v for k, v in card.to_json().items() if k in ("input", "encoded", "pixels", "layout", "preprocessing")
        },
        "backend": list(model.session.choice.order),
        "numerics": repr(model.session.numerics),
    }
    text = json.dumps(facts, sort_keys=True).encode()
    return str(blake2b(text, digest_size=12).hexdigest())


@dataclass(slots=True)
class Store:
    """Arrays of float32 of one shape by photograph. ``fault``: why nothing more is kept, '' while all is well."""

    folder: Path
    shape: tuple[int, ...]
    fault: str = field(default="", init=False)

    @classmethod
    def of(cls, key: str, shape: tuple[int, ...]) -> Store:
        return cls(cache_folder() / FOLDER / key, shape)

    def _path(self, item: Item) -> Path:
        name = item.digest if not item.variant else f"{item.digest}-{item.variant}"
        return self.folder / item.digest[:2] / name

    def get(self, item: Item) -> Features | None:
        """What is kept; None if there is nothing, or it is damaged."""
        size = int(np.prod(self.shape)) * 4
        try:
            data = read_sealed(self._path(item), size)
        except (OSError, UnsafeFileError):
            return None
        return np.frombuffer(data, "<f4").reshape(self.shape) if len(data) == size else None

    def put(self, item: Item, values: Features) -> bool:
        """Keeps an array, and says whether it did; where that fails the run goes on without, and says so once."""
        if self.fault:
            return False
        try:
            write_sealed(self._path(item), np.ascontiguousarray(values, "<f4").tobytes())
            return True
        except OSError as error:
            self.fault = f"{self.folder}: cannot be written: {error.strerror or error}"
            _LOG.warning(
                "%s; features are not kept from here on, so an interrupted run computes them again", self.fault
            )
            return False


class Kept:
    """Arrays that stay in the cache folder until they are asked for: ``kept[places]``, a slice or an array of places.

    held: those that the cache could not keep. KigraphError where one was deleted meanwhile.
    """

    def __init__(self, store: Store, items: Sequence[Item], held: Mapping[Item, Features]) -> None:
        self._store, self._items, self._held = store, list(items), held

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, places: slice | np.ndarray[Any, Any]) -> Features:
        items = self._items[places] if isinstance(places, slice) else [self._items[at] for at in places.tolist()]
        found = np.empty((len(items), *self._store.shape), np.float32)
        for row, item in zip(found, items, strict=True):
            values = self._held.get(item)
            if values is None and (values := self._store.get(item)) is None:
                raise KigraphError(
                    f"{self._store.folder}: what was kept there of {item.path} has gone, or was damaged, during the run; give the "
                    "same command again: it is computed once more"
                )
            row[...] = values
        return found


@dataclass(frozen=True, slots=True)
class Examples:
    """Arrays (n, ...) float32 that are read when they are needed, with their classes (n,) int64."""

    features: Kept
    labels: np.ndarray[Any, np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.labels)


Values = TypeVar("Values", Features, Kept)


@dataclass(slots=True)
class Computed(Generic[Values]):
    """Features (n, ...) of the items that could be read, and the errors of the others. ``kept``: how many were in the cache.

    changed: whether one of the errors is of a file that has gone or changed since its digest was taken.
    """

    items: list[Item]
    features: Values
    errors: list[tuple[Item, str]]
    kept: int
    changed: bool


class _ChangedError(ImageError):
    """A file that could be read when its digest was taken is gone, or another."""


Runner: TypeAlias = "Callable[[np.ndarray[Any, Any]], Features]"
Progress: TypeAlias = "Callable[[int, int], None]"


def compute(
    trunk: Trunk,
    items: Sequence[Item],
    store: Store,
    run: Runner | None = None,
    on_photo: Progress = lambda done, total: None,
) -> Computed[Features]:
    """The features of photographs in memory: from the cache, else computed in batches side by side, beside threads that decode.

    run: prepared images (n, ...) -> values (n, *store.shape), in several threads; default: the trunk's features. on_photo: called
    with the number of photographs that were computed, and of those that have to be; first with 0.
    """
    require(
        len(items) * int(np.prod(store.shape)) * 4,
        f"features of {len(items):,} photographs need",
        "take fewer photographs",
    )
    values = np.empty((len(items), *store.shape), np.float32)

    def take(at: int, row: Features, kept: bool) -> None:
        values[at] = row

    lanes, lane = _lanes(trunk)
    errors, kept = _each(lane, lanes, items, store, run or lane.features, take, on_photo)
    good = [at for at in range(len(items)) if at not in errors]
    return _computed(items, values[good] if errors else values, errors, kept)


class Inputs:
    """What goes into the tensor ``start`` of a trunk, kept in the cache folder; in memory are only those that it does not take."""

    def __init__(self, trunk: Trunk, start: Tensor, store: Store) -> None:
        shape = tuple(d for d in (start.shape or ())[1:] if d)
        name = f"{store.folder.name}-{digest_of(start.name.encode())[:12]}"
        self._trunk, self._start, self._store = trunk, start, Store.of(name, shape)
        self._held: dict[Item, Features] = {}

    def compute(self, items: Sequence[Item], on_photo: Progress = lambda done, total: None) -> Computed[Kept]:
        """As the function ``compute``; OutOfMemoryError where what the cache does not take does not fit into memory."""
        size = int(np.prod(self._store.shape)) * 4

        def take(at: int, row: Features, kept: bool) -> None:
            if kept:
                return
            if not self._held:
                require(
                    (len(items) - at) * size,
                    f"{self._store.fault}; what it does not keep of {len(items) - at:,} photographs needs",
                    "free room there, or name a folder with room by KIGRAPH_CACHE_DIR",
                )
            self._held[items[at]] = row.copy()

        lanes, lane = _lanes(self._trunk)

        def run(images: np.ndarray[Any, Any]) -> Features:
            return np.asarray(lane.session.run(self._start, {IMAGES: images}), np.float32)

        errors, count = _each(lane, lanes, items, self._store, run, take, on_photo)
        good = [item for at, item in enumerate(items) if at not in errors]
        return _computed(items, self.kept(good), errors, count)

    def kept(self, items: Sequence[Item]) -> Kept:
        """The arrays of items that were computed."""
        return Kept(self._store, items, self._held)


def _computed(items: Sequence[Item], values: Values, errors: dict[int, ImageError], kept: int) -> Computed[Values]:
    return Computed(
        [item for at, item in enumerate(items) if at not in errors], values,
        [(items[at], str(error)) for at, error in errors.items()], kept,
        any(isinstance(error, _ChangedError) for error in errors.values()),
    )  # fmt: skip


def _lanes(trunk: Trunk) -> tuple[Lanes, Trunk]:
    """How the trunk is run for many photographs, as a network that classifies is, and the trunk whose runs are so narrow."""
    lanes = lanes_of(trunk.session.choice.order[0], trunk.session.threads, trunk.batch)
    return lanes, trunk.with_threads(lanes.threads)


def _each(
    trunk: Trunk,
    lanes: Lanes,
    items: Sequence[Item],
    store: Store,
    run: Runner,
    take: Callable[[int, Features, bool], None],
    on_photo: Progress,
) -> tuple[dict[int, ImageError], int]:
    """Calls ``take`` with place, values, and whether the cache has them; returns errors by place, and how many it had before."""
    missing = []
    for at, item in enumerate(items):
        found = store.get(item)
        if found is None:
            missing.append(at)
        else:
            take(at, found, True)
    errors: dict[int, ImageError] = {}
    done = 0
    on_photo(0, len(missing))

    def values(chunk: list[Decoded[int]]) -> tuple[list[Decoded[int]], Features | None]:
        images = [found.image for found in chunk if found.image is not None]
        return chunk, run(np.stack(images)) if images else None

    ahead = lanes.batch * (lanes.count + 1) + default_workers()
    with (
        closing(decoded(missing, lambda at: _prepare(trunk, items[at]), ahead=ahead)) as images,
        closing(
            in_order(chunks_of(images, lanes.batch), values, workers=lanes.count, ahead=lanes.count + 1)
        ) as computed,
    ):
        for chunk, found_rows in computed:
            rows = iter(() if found_rows is None else found_rows)
            for image in chunk:
                if image.error is not None:
                    errors[image.source] = image.error
                else:
                    row = next(rows)
                    take(image.source, row, store.put(items[image.source], row))
            done += len(chunk)
            on_photo(done, len(missing))
    return errors, len(items) - len(missing)


def _prepare(trunk: Trunk, item: Item) -> np.ndarray[Any, Any]:
    """The image of a photograph, or of its variant, as the trunk takes it. ImageError where it cannot be read, or has changed."""
    try:
        data = read_image(item.path)
    except ImageError as error:
        raise _ChangedError(str(error)) from None
    if digest_of(data) != item.digest:
        raise _ChangedError(f"{item.path}: the file has changed meanwhile")
    try:
        pixels = trunk.pixels(data, item.path)
        return trunk.prepared(varied(pixels, item.digest, item.variant) if item.variant else pixels)
    except ImageError as error:
        raise error if item.path in str(error) else ImageError(f"{item.path}: {error}") from None
    except (RunError, LoadError) as error:
        raise ImageError(f"{item.path}: {error}") from None
