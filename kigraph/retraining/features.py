"""The features of photographs, computed once for each and kept in the cache folder, by content and by trunk.

Layout: ``CACHE/bottlenecks/<trunk>/<first two digits>/<digest of the photograph>[-variant]``, sealed (kernels/cache_files.py). A file is
there when it is complete, so any number of processes may work at once, and an interrupted run goes on where it was.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import ImageError, LoadError, RunError
from ..kernels.cache_files import UnsafeFileError, read_sealed, write_sealed
from ..kernels.digest import blake2b
from ..kernels.room import require
from ..kernels.settings import cache_folder
from ..vision.decode import read_image
from ..vision.pipeline import decoded
from .augment import varied
from .photos import digest_of
from .trunk import Trunk, file_digest

__all__ = ["FOLDER", "Item", "Store", "compute", "trunk_key"]

_LOG = logging.getLogger("kigraph")
FOLDER = "bottlenecks"
_FORMAT = 1
#: Images that go through the trunk together.
_BATCH = 8

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

    def put(self, item: Item, values: Features) -> None:
        """Keeps an array; where that fails the run goes on without, and says so once."""
        if self.fault:
            return
        try:
            write_sealed(self._path(item), np.ascontiguousarray(values, "<f4").tobytes())
        except OSError as error:
            self.fault = f"{self.folder}: cannot be written: {error.strerror or error}"
            _LOG.warning(
                "%s; features are not kept from here on, so an interrupted run computes them again", self.fault
            )


@dataclass(slots=True)
class Computed:
    """Features (n, ...) of the items that could be read, and the errors of the others. ``kept``: how many were in the cache."""

    items: list[Item]
    features: Features
    errors: list[tuple[Item, str]]
    kept: int


def compute(
    trunk: Trunk,
    items: Sequence[Item],
    store: Store,
    run: Callable[[np.ndarray[Any, Any]], Features] | None = None,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> Computed:
    """The features of photographs: from the cache, else computed in batches, beside threads that decode.

    run: prepared images (n, ...) -> values (n, *store.shape); default: the trunk's features. on_photo: called with the number of
    photographs that were computed, and of those that have to be.
    """
    run = run or trunk.features
    require(
        len(items) * int(np.prod(store.shape)) * 4,
        f"features of {len(items):,} photographs need",
        "take fewer photographs",
    )
    values = np.empty((len(items), *store.shape), np.float32)
    missing = []
    for at, item in enumerate(items):
        found = store.get(item)
        if found is None:
            missing.append(at)
        else:
            values[at] = found
    errors: dict[int, str] = {}
    done = 0
    for places, images in _batches(trunk, items, missing, errors):
        if len(places):
            for at, row in zip(places, run(images), strict=True):
                values[at] = row
                store.put(items[at], row)
        done = len(places) + done
        on_photo(done + len(errors), len(missing))
    good = [at for at in range(len(items)) if at not in errors]
    return Computed(
        [items[at] for at in good], values[good] if errors else values,
        [(items[at], text) for at, text in errors.items()], len(items) - len(missing),
    )  # fmt: skip


def _batches(
    trunk: Trunk, items: Sequence[Item], missing: Sequence[int], errors: dict[int, str]
) -> Iterator[tuple[list[int], np.ndarray[Any, Any]]]:
    """Places and prepared images of what is missing, some at a time; ``errors`` gets those that cannot be read."""

    def prepare(at: int) -> np.ndarray[Any, Any]:
        item = items[at]
        data = read_image(item.path)
        if digest_of(data) != item.digest:
            raise ImageError(f"{item.path}: the file has changed meanwhile")
        try:
            pixels = trunk.pixels(data, item.path)
            return trunk.prepared(varied(pixels, item.digest, item.variant) if item.variant else pixels)
        except ImageError as error:
            raise error if item.path in str(error) else ImageError(f"{item.path}: {error}") from None
        except (RunError, LoadError) as error:
            raise ImageError(f"{item.path}: {error}") from None

    size = trunk.batch or _BATCH
    places: list[int] = []
    images: list[np.ndarray[Any, Any]] = []
    for found in decoded(missing, prepare, ahead=4 * size):
        if found.image is None:
            errors[found.source] = str(found.error)
        else:
            places.append(found.source)
            images.append(found.image)
        if len(images) == size:
            yield places, np.stack(images)
            places, images = [], []
    if places:
        yield places, np.stack(images)
    elif errors:
        yield [], np.empty(0)
