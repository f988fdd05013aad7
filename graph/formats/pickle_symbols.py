"""An interpreter for the pickle opcodes of a PyTorch state dict that builds symbols only.

Nothing of the file is called, imported or instantiated. GLOBAL gives a name from a frozen list, REDUCE knows four
constructors and describes what they would have made, BUILD is accepted on dicts and ignored. Everything else is
refused by the name of its opcode. Opcodes: Lib/pickletools.py of CPython.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .limits import Budget, brief

__all__ = ["STORAGES", "Storage", "Symbol", "TensorSymbol", "Unpickler"]

#: Storage class -> element type by name.
STORAGES: dict[str, str] = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}  # fmt: skip
_REBUILD = "torch._utils _rebuild_tensor"
_REBUILD_V2 = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_ORDERED_DICT = "collections OrderedDict"
_SIZE = "torch Size"
_GLOBALS = frozenset([_REBUILD, _REBUILD_V2, _PARAMETER, _ORDERED_DICT, _SIZE, *(f"torch {s}" for s in STORAGES)])
_MAX_MEMO = 1_000_000
_MAX_STACK = 1_000_000
_MAX_PROTOCOL = 5


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name from the list above, 'module name'."""

    name: str


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of ``size`` elements under a key of the file. ``view``: (first element, count) of an old storage view."""

    key: str
    dtype: str
    size: int
    view: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TensorSymbol:
    """A strided window into a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


#: Constructors whose value is their first argument, for our purpose, and the type that it must have.
_PASSED: dict[str, type[Any]] = {_PARAMETER: TensorSymbol, _SIZE: tuple}


class _Mark:
    pass


_MARK = _Mark()
_KEYS = (str, int, float, bool, type(None))


class Unpickler:
    """Interprets one pickle that begins at ``start`` of ``data``; ``run`` gives its value, ``at`` then its end."""

    def __init__(self, data: bytes, start: int, budget: Budget, what: str) -> None:
        self.at = start
        self._data, self._budget, self._what = data, budget, what
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def fail(self, found: str, expected: str, remedy: str = "") -> Exception:
        return self._budget.error(f"{self._what}, byte {self.at}", found, expected, remedy)

    def run(self) -> Any:
        """Interprets until STOP. Raises LoadError for anything that a state dict does not need."""
        data, stack = self._data, self._stack
        while True:
            if self.at >= len(data):
                raise self.fail("the end of the pickle", "STOP", "The file is truncated: fetch it again.")
            code = data[self.at]
            handler = _OPCODES.get(code)
            if handler is None:
                name = _NAMES.get(code, f"{code:#04x}")
                raise self.fail(
                    f"opcode {name}",
                    "the opcodes of a state dict",
                    "kigraph never runs code from a file; save model.state_dict() in PyTorch, or use safetensors.",
                )
            self.at += 1
            if code == 0x2E:  # STOP
                value = self.pop()
                if stack:
                    raise self.fail(f"{len(stack)} values left at STOP", "one value")
                return value
            handler(self)
            if len(stack) > _MAX_STACK:
                raise self.fail(f"more than {_MAX_STACK:,} values on the stack", "a state dict")

    # --- reading ------------------------------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self._data):
            raise self.fail(f"{len(self._data) - self.at} bytes left", f"{count} more")
        result = self._data[self.at : end]
        self.at = end
        return result

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def line(self) -> str:
        end = self._data.find(b"\n", self.at, self.at + 512)
        if end < 0:
            raise self.fail("a name without an end", "a line of at most 512 bytes")
        text = self.take(end - self.at)
        self.at += 1
        return self.text(text)

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode()  # strict: a name with half a surrogate pair could not be printed
        except UnicodeDecodeError:
            raise self.fail(f"{raw[:40]!r}", "UTF-8 text") from None

    # --- the stack ------------------------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise self.fail("an empty stack", "a value")
        return self._stack.pop()

    def top(self, kind: type[Any]) -> Any:
        if not self._stack or not isinstance(self._stack[-1], kind):
            raise self.fail("something else on the stack", f"a {kind.__name__}")
        return self._stack[-1]

    def pop_mark(self) -> list[Any]:
        for i in range(len(self._stack) - 1, -1, -1):
            if self._stack[i] is _MARK:
                items = self._stack[i + 1 :]
                del self._stack[i:]
                return items
        raise self.fail("no MARK on the stack", "one")

    def pop_tuple(self, count: int) -> tuple[Any, ...]:
        items = [self.pop() for _ in range(count)]
        return tuple(reversed(items))

    def remember(self, index: int) -> None:
        if index > _MAX_MEMO:
            raise self.fail(f"memo index {index}", f"at most {_MAX_MEMO:,}")
        if not self._stack or self._stack[-1] is _MARK:
            raise self.fail("an empty stack", "a value to remember")
        self._memo[index] = self._stack[-1]

    def recall(self, index: int) -> None:
        if index not in self._memo:
            raise self.fail(f"memo index {index}", "one that was set")
        self._stack.append(self._memo[index])

    def memoize(self) -> None:
        self.remember(len(self._memo))

    # --- containers -----------------------------------------------------------------------------------------------------

    def fill(self, items: list[Any]) -> None:
        target = self.top(dict)
        if len(items) % 2:
            raise self.fail(f"{len(items)} keys and values", "an even number")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):  # tuples of tuples take exponential time to hash
                raise self.fail(f"a key of type {type(key).__name__}", "text or a number")
            if key in target:
                raise self.fail(f"the key {brief(key)} twice", "unique keys")
            target[key] = value

    def set_one(self) -> None:
        value, key = self.pop(), self.pop()
        self.fill([key, value])

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def append(self) -> None:
        value = self.pop()
        self.extend([value])

    # --- what would be calls --------------------------------------------------------------------------------------------

    def symbol(self, module: str, name: str) -> None:
        full = f"{module} {name}"
        if full not in _GLOBALS:
            raise self.fail(
                f"GLOBAL {module}.{name}"[:160],
                "one of the names of a state dict",
                "kigraph never imports what a file names; save model.state_dict() in PyTorch, not the model.",
            )
        self.push(Symbol(full))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise self.fail("STACK_GLOBAL without two names", "module and name")
        self.symbol(module, name)

    def reduce(self) -> None:
        args, function = self.pop(), self.pop()
        if not isinstance(function, Symbol) or not isinstance(args, tuple):
            raise self.fail("REDUCE of something that is not a listed name", "a tensor, a parameter or an OrderedDict")
        if function.name in (_REBUILD, _REBUILD_V2):
            self.push(self._tensor(args))
        elif function.name in _PASSED and args and isinstance(args[0], _PASSED[function.name]):
            self.push(args[0])
        elif function.name == _ORDERED_DICT and len(args) <= 1:
            self.push({})
            pairs = args[0] if args else []
            if not isinstance(pairs, list) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
                raise self.fail("OrderedDict of something else", "a list of pairs")
            self.fill([item for pair in pairs for item in pair])
        else:
            raise self.fail(f"REDUCE of {function.name} with {len(args)} arguments", "the arguments of a state dict")

    def _tensor(self, args: tuple[Any, ...]) -> TensorSymbol:
        if len(args) < 4 or not isinstance(args[0], Storage):
            raise self.fail("a tensor without storage", "(storage, offset, shape, strides, ...)")
        storage, offset, shape, strides = args[:4]
        if (
            type(offset) is not int
            or not all(isinstance(v, tuple) and all(type(n) is int and n >= 0 for n in v) for v in (shape, strides))
            or len(shape) != len(strides)
            or offset < 0
        ):
            raise self.fail(f"offset {brief(offset)}, shape {brief(shape)}, strides {brief(strides)}", "whole numbers")
        # Metadata (conjugate, negative bits) would change the values.
        if len(args) > 6 and args[6]:
            raise self.fail("a tensor with metadata", "a plain tensor")
        return TensorSymbol(storage, offset, shape, strides)

    def persistent(self) -> None:
        """('storage', class, key, location, element count[, view])."""
        pid = self.pop()
        view = None
        ok = isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage" and isinstance(pid[1], Symbol)
        ok = ok and isinstance(pid[2], str) and type(pid[4]) is int and pid[4] >= 0
        dtype = STORAGES.get(pid[1].name.removeprefix("torch ")) if ok else None
        if ok and len(pid) == 6 and pid[5] is not None:
            ok = isinstance(pid[5], tuple) and len(pid[5]) == 3 and all(type(n) is int for n in pid[5][1:])
            view = (pid[5][1], pid[5][2]) if ok else None
        if not ok or dtype is None:
            raise self.fail("a persistent id of another kind", "('storage', class, key, location, size)")
        self.push(Storage(pid[2], dtype, pid[4], view))

    def build(self) -> None:
        """State of an object: on dicts it is PyTorch's _metadata, which is not needed; refused on all else."""
        self.pop()
        self.top(dict)

    def protocol(self) -> None:
        version = self.number("B")
        if version > _MAX_PROTOCOL:
            raise self.fail(f"pickle protocol {version}", f"at most {_MAX_PROTOCOL}")

    def long(self) -> None:
        self.push(int.from_bytes(self.take(self.number("B")), "little", signed=True))


_OPCODES: dict[int, Callable[[Unpickler], None]] = {
    0x80: Unpickler.protocol,
    0x95: lambda u: u.number("Q"),  # FRAME: a hint
    0x2E: lambda u: None,  # STOP
    0x28: lambda u: u.push(_MARK),
    0x4E: lambda u: u.push(None),
    0x88: lambda u: u.push(True),
    0x89: lambda u: u.push(False),
    0x4A: lambda u: u.push(u.number("i")),
    0x4B: lambda u: u.push(u.number("B")),
    0x4D: lambda u: u.push(u.number("H")),
    0x8A: Unpickler.long,
    0x47: lambda u: u.push(struct.unpack(">d", u.take(8))[0]),
    0x58: lambda u: u.push(u.text(u.take(u.number("I")))),
    0x8C: lambda u: u.push(u.text(u.take(u.number("B")))),
    0x55: lambda u: u.push(u.text(u.take(u.number("B")))),  # SHORT_BINSTRING of Python 2
    0x7D: lambda u: u.push({}),
    0x5D: lambda u: u.push([]),
    0x29: lambda u: u.push(()),
    0x85: lambda u: u.push(u.pop_tuple(1)),
    0x86: lambda u: u.push(u.pop_tuple(2)),
    0x87: lambda u: u.push(u.pop_tuple(3)),
    0x74: lambda u: u.push(tuple(u.pop_mark())),
    0x73: Unpickler.set_one,
    0x75: lambda u: u.fill(u.pop_mark()),
    0x61: Unpickler.append,
    0x65: lambda u: u.extend(u.pop_mark()),
    0x71: lambda u: u.remember(u.number("B")),
    0x72: lambda u: u.remember(u.number("I")),
    0x94: Unpickler.memoize,
    0x68: lambda u: u.recall(u.number("B")),
    0x6A: lambda u: u.recall(u.number("I")),
    0x63: lambda u: u.symbol(u.line(), u.line()),
    0x93: Unpickler.stack_global,
    0x52: Unpickler.reduce,
    0x51: Unpickler.persistent,
    0x62: Unpickler.build,
}
#: Opcodes that are refused, for the message.
_NAMES: dict[int, str] = {
    0x69: "INST", 0x6F: "OBJ", 0x81: "NEWOBJ", 0x92: "NEWOBJ_EX", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4",
    0x50: "PERSID", 0x46: "FLOAT", 0x49: "INT", 0x4C: "LONG", 0x53: "STRING", 0x54: "BINSTRING", 0x56: "UNICODE",
    0x8B: "LONG4", 0x8D: "BINUNICODE8", 0x8E: "BINBYTES8", 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES",
    0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER", 0x8F: "EMPTY_SET", 0x90: "ADDITEMS",
    0x91: "FROZENSET", 0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x64: "DICT", 0x6C: "LIST", 0x67: "GET", 0x70: "PUT",
}  # fmt: skip
