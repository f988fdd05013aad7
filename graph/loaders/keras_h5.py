"""Keras 2 weights in HDF5 (.h5): weights only, or a whole model with its weights under 'model_weights'.

Layout: the root attribute ``layer_names`` lists groups, each group's attribute ``weight_names`` lists its datasets.
HDF5 can follow links into other files, keep data in other files, and declare exabytes in a few bytes; so every object
is checked before it is opened or read: hard links only, no external or virtual storage, plain number types, known
filters, declared sizes and chunks within the budget. The JSON of a whole model (which can name code) is text here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from ...kernels.types import DType
from ..errors import LoadError
from .limits import Budget, size_text
from .source import Source
from .weights import TensorInfo, WeightsFile

__all__ = ["SIGNATURE", "read_keras_h5"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: Filters that are part of HDF5 itself and only make data smaller: deflate, shuffle, fletcher32; h5py's lzf.
_FILTERS = frozenset([1, 2, 3, 32000])
#: HDF5 holds a whole chunk in memory; Keras and h5py make chunks of about a megabyte.
_MAX_CHUNK = 64 << 20
_MAX_ATTRIBUTE = 16 << 20


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as e:
        raise LoadError(
            "reading a Keras .h5 file needs h5py, which is not installed here; "
            "install it with: pip install 'kigraph[keras]'"
        ) from e
    return h5py


class _File:
    """The open file; h5py objects are used under one lock, and every foreign exception becomes a LoadError."""

    def __init__(self, source: Source, budget: Budget) -> None:
        self.source, self.budget, self.h5py = source, budget, _h5py()
        self._lock = threading.RLock()
        with self.guard("the file"):
            self.root = self.h5py.File(source.path, "r", locking=False)

    @contextmanager
    def guard(self, place: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except LoadError:
                raise
            except (OSError, RuntimeError, LookupError, TypeError, ValueError, ArithmeticError) as e:
                text = str(e).replace("\n", " ")[:200]
                raise self.budget.error(place, text, "readable HDF5", "The file is truncated or damaged.") from None

    def child(self, group: Any, path: str) -> Any:
        """Follows a path of hard links, one name at a time; absolute and climbing paths have no meaning here."""
        here = group
        parts = path.split("/")
        self.budget.depth(len(parts), f"'{path[:80]}'", 0)
        for part in parts:
            place = f"'{path[:200]}'"
            if part in ("", ".", ".."):
                raise self.budget.error(place, f"the part {part!r}", "names joined by '/'")
            if not isinstance(here, self.h5py.Group):
                raise self.budget.error(place, f"a dataset above {part!r}", "a group")
            link = here.get(part, getlink=True)
            if link is None:
                raise self.budget.error(place, "nothing of that name", "a group or dataset")
            if not isinstance(link, self.h5py.HardLink):
                kind = "an external link" if isinstance(link, self.h5py.ExternalLink) else "a soft link"
                raise self.budget.error(place, kind, "data inside the file", "Links to elsewhere are never followed.")
            here = here[part]
        return here

    def names(self, group: Any, attribute: str) -> list[str]:
        """A list of names; Keras splits lists above 64 KB into attribute0, attribute1, ..."""
        if attribute in group.attrs:
            return self._texts(group, attribute)
        names: list[str] = []
        part = 0
        while f"{attribute}{part}" in group.attrs:
            names += self._texts(group, f"{attribute}{part}")
            part += 1
        return names

    def text(self, group: Any, attribute: str) -> str | None:
        """One text, if the attribute exists."""
        if attribute not in group.attrs:
            return None
        texts = self._texts(group, attribute)
        if len(texts) != 1 or len(texts[0]) > _MAX_ATTRIBUTE:
            found = f"{len(texts)} texts" if len(texts) != 1 else f"{len(texts[0]):,} characters"
            raise self.budget.error(
                f"attribute '{attribute}'", found, f"one text of at most {_MAX_ATTRIBUTE:,} characters"
            )
        return texts[0]

    def _texts(self, group: Any, attribute: str) -> list[str]:
        place = f"attribute '{attribute}' of '{group.name}'"
        info = group.attrs.get_id(attribute)
        count = prod(info.shape)
        if count > self.budget.limits.max_nodes or count * info.dtype.itemsize > _MAX_ATTRIBUTE:
            raise self.budget.error(
                place, f"a list of shape {info.shape}", f"at most {self.budget.limits.max_nodes} names"
            )
        if count == 0:  # h5py writes an empty list as numbers
            return []
        kind = info.dtype.kind
        if kind not in "SO" or (kind == "O" and self.h5py.check_string_dtype(info.dtype) is None):
            raise self.budget.error(place, f"type {info.dtype}", "text")
        values = np.asarray(group.attrs[attribute], object).ravel()
        return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _storage_rules(file: _File, dataset: Any, place: str) -> None:
    """Refuses what reads other files, unknown filters and chunks that cannot be held."""
    budget, h5 = file.budget, file.h5py
    plist = dataset.id.get_create_plist()
    if plist.get_external_count():
        raise budget.error(place, "data in another file (external storage)", "data inside the file")
    layout = plist.get_layout()
    if layout == h5.h5d.VIRTUAL:
        raise budget.error(place, "a virtual dataset", "data inside the file")
    for i in range(plist.get_nfilters()):
        code = plist.get_filter(i)[0]
        if code not in _FILTERS:
            raise budget.error(place, f"filter number {code}", "deflate, shuffle, fletcher32 or lzf")
    if layout == h5.h5d.CHUNKED:
        size = prod(plist.get_chunk()) * dataset.dtype.itemsize
        if size > _MAX_CHUNK:
            raise budget.error(place, f"chunks of {size_text(size)}", f"at most {size_text(_MAX_CHUNK)}")
        stored = dataset.id.get_storage_size()
        free = 64 << 20
        declared = prod(dataset.shape) * dataset.dtype.itemsize
        if declared > free + budget.limits.max_expansion * stored:
            raise budget.error(
                place,
                f"{size_text(declared)} from {size_text(stored)}",
                f"at most {budget.limits.max_expansion} times (LoadLimits.max_expansion)",
            )


def _info(file: _File, dataset: Any, name: str) -> TensorInfo:
    budget = file.budget
    place = f"dataset '{name[:200]}'"
    if not isinstance(dataset, file.h5py.Dataset):
        raise budget.error(place, "a group", "a dataset")
    dtype: DType = dataset.dtype.newbyteorder("=")
    if dtype.kind not in "fiu" or dtype.names is not None or dtype.itemsize not in (1, 2, 4, 8):
        raise budget.error(place, f"element type {dataset.dtype}", "numbers of 8 to 64 bits")
    if dataset.shape is None:
        raise budget.error(place, "a dataset without a shape", "an array")
    shape = tuple(int(n) for n in dataset.shape)
    budget.tensor(shape, dtype.itemsize, place)
    _storage_rules(file, dataset, place)
    return TensorInfo(
        dtype, shape, dtype.name, _loader(file, dataset, dtype, shape, place), ("file", file.source, name)
    )


def _loader(
    file: _File, dataset: Any, dtype: DType, shape: tuple[int, ...], place: str
) -> Callable[[], np.ndarray[Any, Any]]:
    def load() -> np.ndarray[Any, Any]:
        file.source.check_unchanged()
        result = np.empty(shape, dtype)
        with file.guard(place):
            if result.size:
                dataset.read_direct(result)
        return result

    return load


def read_keras_h5(source: Source, budget: Budget) -> WeightsFile:
    """The arrays of a Keras 2 file under their weight names ('conv2d_1/kernel:0'), in the file's order.

    ``metadata['layers']`` maps each layer's name to the names of its weights; ``metadata['model_config']`` is the text of
    a whole model's architecture, if there is one (see keras_config).
    """
    file = _File(source, budget)
    with file.guard("the file"):
        root = file.root
        if "layer_names" not in root.attrs and "layer_names0" not in root.attrs:
            if "model_weights" in root:
                root = file.child(root, "model_weights")
            elif "layers" in root or "_layer_checkpoint_dependencies" in root:
                raise budget.error(
                    "the file",
                    "Keras 3 weights (.weights.h5)",
                    "Keras 2 weights",
                    "Save the whole model: model.save('model.h5').",
                )
            else:
                raise budget.error("the root group", "no attribute 'layer_names'", "a Keras weights file")
        tensors: dict[str, TensorInfo] = {}
        layers: dict[str, tuple[str, ...]] = {}
        for layer in file.names(root, "layer_names"):
            if layer in layers:
                raise budget.error("'layer_names'", f"the layer {layer[:80]!r} twice", "unique names")
            group = file.child(root, layer)
            if not isinstance(group, file.h5py.Group):
                raise budget.error(f"layer '{layer[:80]}'", "a dataset", "a group")
            names = file.names(group, "weight_names")
            for name in names:
                if name in tensors:
                    raise budget.error(f"layer '{layer[:80]}'", f"the weight {name[:80]!r} twice", "unique names")
                tensors[name] = _info(file, file.child(group, name), name)
            layers[layer] = tuple(names)
        if not tensors:
            raise budget.error("the file", "no weights", "layers with weights")
        config = file.text(file.root, "model_config")
    metadata = MappingProxyType(
        {"layers": MappingProxyType(layers)} | ({"model_config": config} if config is not None else {})
    )
    return WeightsFile(source.name, "keras-h5", MappingProxyType(tensors), metadata)
