"""PyTorch state dicts (.pth, .pt): the zip form of torch.save since 1.6, and the older stream of pickles.

Read without PyTorch and without the pickle module, see pickle_symbols. Arrays stay in the file until they are used.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from ...kernels.tensor import DType
from ..formats.archive import Archive
from ..formats.limits import Budget, brief, size_text
from ..formats.pickle_symbols import Storage, TensorSymbol, Unpickler
from ..formats.source import Source
from .weights import BFLOAT16, TensorInfo, WeightsFile, widen_bfloat16

__all__ = ["LEGACY_MAGIC", "read_torch_legacy", "read_torch_zip"]

#: A pickle (protocol 2) of torch's magic number 0x1950a86a20f9469cfc6c.
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001
#: A state dict of 100,000 arrays pickles to about 20 MB.
_MAX_PICKLE = 32 << 20
#: The program is code: what it computes, in a form that is data.
_TORCHSCRIPT = (
    "Convert it in PyTorch: torch.onnx.export(torch.jit.load('model.pt').eval(), (torch.zeros(1, 3, 224, 224),), 'model.onnx', "
    "dynamo=False)"
)
#: Names under which training scripts keep the state dict of a checkpoint; of several the first, trained before averaged.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema", "model_ema")

#: Storage key -> (first byte in the file, size in bytes, check to run before the first read).
_Places = dict[str, tuple[int, int, Callable[[], None]]]


def _nothing() -> None:
    pass


def read_torch_zip(source: Source, archive: Archive, budget: Budget) -> WeightsFile:
    """A state dict in zip form; ``archive`` has a member NAME/data.pkl."""
    pickles = [name for name in archive.members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise budget.error("the archive", f"{len(pickles)} members NAME/data.pkl", "one")
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in archive.members:
        raise budget.error("the archive", "a TorchScript program", "a state dict or an exported program", _TORCHSCRIPT)
    if f"{root}byteorder" in archive.members and archive.read(f"{root}byteorder", 16) != b"little":
        raise budget.error(f"member '{root}byteorder'", "another byte order", "little")
    data = archive.read(pickles[0], _MAX_PICKLE)
    unpickler = Unpickler(data, 0, budget, pickles[0])
    value = unpickler.run()
    places: _Places = {}

    def place(storage: Storage) -> tuple[int, int, Callable[[], None]]:
        if storage.key not in places:
            member = archive.stored(f"{root}data/{storage.key}")
            places[storage.key] = (member.start, member.size, lambda: archive.check(member))
        return places[storage.key]

    return _weights(source, budget, value, place)


def read_torch_legacy(source: Source, budget: Budget) -> WeightsFile:
    """A state dict in the form before 1.6: five pickles (magic, protocol, system, object, keys), then the storages."""
    head = source.read(0, min(source.size, _MAX_PICKLE))
    at = len(LEGACY_MAGIC)
    values: list[Any] = []
    for what in ("the protocol version", "the system information", "the state dict", "the storage keys"):
        unpickler = Unpickler(head, at, budget, f"the pickle of {what}")
        values.append(unpickler.run())
        at = unpickler.at
    protocol, system, value, keys = values
    if protocol != _LEGACY_PROTOCOL:
        raise budget.error("the protocol version", f"{brief(protocol)}", f"{_LEGACY_PROTOCOL}")
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise budget.error("the system information", "another byte order", "little-endian")
    if not isinstance(keys, list) or not all(isinstance(k, str) for k in keys) or len(set(keys)) != len(keys):
        raise budget.error("the storage keys", f"{brief(keys)}", "a list of unique names")
    storages = {s.key: s for s in _storages(value)}
    places: _Places = {}
    for key in keys:
        storage = storages.get(key)
        if storage is None:
            raise budget.error("the storage keys", f"the key {brief(key)} that no tensor uses", "used keys only")
        (count,) = struct.unpack("<q", source.read(at, 8))
        if count != storage.size:
            raise budget.error(f"storage {brief(key)}", f"{count} elements", f"{storage.size}")
        size = count * _width(storage.dtype)
        if at + 8 + size > source.size:
            raise budget.error(
                f"storage {brief(key)}", f"{size_text(source.size - at - 8)} left", f"{size_text(size)} of data"
            )
        places[key] = (at + 8, size, _nothing)
        at += 8 + size

    def place(storage: Storage) -> tuple[int, int, Callable[[], None]]:
        if storage.key not in places:
            raise budget.error(f"storage {brief(storage.key)}", "no data", "data for every key")
        return places[storage.key]

    return _weights(source, budget, value, place)


def _storages(value: Any) -> list[Storage]:
    """All storages of the tensors in (nested) dicts."""
    found: list[Storage] = []
    pending, seen = [value], set()
    while pending:
        item = pending.pop()
        if isinstance(item, TensorSymbol):
            found.append(item.storage)
        elif isinstance(item, (dict, list, tuple)) and id(item) not in seen:
            seen.add(id(item))
            pending.extend(item.values() if isinstance(item, dict) else item)
    return found


def _width(dtype: str) -> int:
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def _state_dict(value: Any, budget: Budget) -> tuple[dict[str, TensorSymbol], dict[str, str]]:
    """The tensors by name; of a training checkpoint the part that is the state dict, whose key is in the second dict."""
    found: dict[str, str] = {}
    if not isinstance(value, dict):
        raise budget.error("the pickled object", type(value).__name__, "a state dict (names to tensors)")
    if not any(isinstance(v, TensorSymbol) for v in value.values()):
        key = next((k for k in _NESTED if isinstance(value.get(k), dict)), None)
        if key is None:
            raise budget.error("the pickled object", f"a dict of {brief(list(value))}", "a dict with tensors")
        value, found = value[key], {"part": key}
    tensors = {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, TensorSymbol)}
    if not tensors:
        raise budget.error("the state dict", "no tensors", "at least one")
    # DataParallel and DistributedDataParallel prefix every name with this.
    if all(k.startswith("module.") for k in tensors):
        tensors = {k.removeprefix("module."): v for k, v in tensors.items()}
    return tensors, found


def _weights(
    source: Source, budget: Budget, value: Any, place: Callable[[Storage], tuple[int, int, Callable[[], None]]]
) -> WeightsFile:
    tensors: dict[str, TensorInfo] = {}
    symbols, metadata = _state_dict(value, budget)
    for name, symbol in symbols.items():
        where = f"tensor {name[:200]!r}"
        storage = symbol.storage
        dtype: DType = np.dtype(np.float32 if storage.dtype == BFLOAT16 else storage.dtype)
        width = _width(storage.dtype)
        start, size, check = place(storage)
        if size != storage.size * width:
            raise budget.error(
                where, f"a storage of {size} bytes", f"{storage.size * width} bytes for {storage.size} {storage.dtype}"
            )
        first, count = storage.view or (0, storage.size)
        if first < 0 or count < 0 or first + count > storage.size:
            raise budget.error(where, f"a view of {count} elements from {first}", f"a range below {storage.size}")
        elements = budget.tensor(symbol.shape, dtype.itemsize, where)
        # The stride of an axis of size 1 is never used, and PyTorch stores what it likes there.
        strides = tuple(s if n > 1 and elements else 0 for n, s in zip(symbol.shape, symbol.strides, strict=True))
        last = sum((n - 1) * s for n, s in zip(symbol.shape, strides, strict=True))
        if (symbol.offset + last >= count) if elements else (symbol.offset > count):
            raise budget.error(
                where, f"element {brief(symbol.offset + last)}", f"elements below {count}, the size of its storage"
            )
        offset = start + (first + symbol.offset) * width
        window = TensorSymbol(storage, symbol.offset, symbol.shape, strides)
        load = _loader(source, offset, storage.dtype, window, last + 1 if elements else 0, check)
        key = ("file", source, offset, storage.dtype, symbol.shape, strides)
        tensors[name] = TensorInfo(dtype, symbol.shape, storage.dtype, load, key)
    return WeightsFile(source.name, "torch", MappingProxyType(tensors), MappingProxyType(metadata))


def _loader(
    source: Source, offset: int, stored: str, symbol: TensorSymbol, span: int, check: Callable[[], None]
) -> Callable[[], np.ndarray[Any, Any]]:
    """Reads the span of elements that the tensor touches and takes its strided window of it."""
    raw = np.dtype(np.uint16 if stored == BFLOAT16 else np.uint8 if stored == "bool" else stored)

    def load() -> np.ndarray[Any, Any]:
        check()
        flat = source.array(offset, raw, (span,))
        if prod(symbol.shape) == 0:
            window = np.empty(symbol.shape, raw)
        else:
            strides = tuple(s * raw.itemsize for s in symbol.strides)
            window = np.lib.stride_tricks.as_strided(flat, symbol.shape, strides, writeable=False)
        if stored == "bool":
            return np.ascontiguousarray(window != 0).reshape(symbol.shape)
        dense = np.ascontiguousarray(window).reshape(symbol.shape)
        return widen_bfloat16(dense).reshape(symbol.shape) if stored == BFLOAT16 else dense

    return load
