"""Writes FlatBuffers and TensorFlow Lite models, without a library and without kigraph: what the loader reads in tests."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["CODES", "Lite", "Table", "flatbuffer", "flex", "loop", "metadata"]

_SCALARS = {"i8": "<b", "u8": "<B", "bool": "<?", "i32": "<i", "u32": "<I", "f32": "<f", "u64": "<Q"}


class Table(dict[int, Any]):
    """Field number -> ("i8", value) and the like, a str, bytes or an array (a vector), a Table, or a list of them."""


def flatbuffer(root: Table, magic: bytes) -> bytes:
    out = bytearray(4) + magic
    _refer(out, 0, _table(out, root))
    return bytes(out)


def _refer(out: bytearray, at: int, target: int) -> None:
    struct.pack_into("<I", out, at, target - at)


def _pad(out: bytearray, to: int = 8) -> None:
    out += bytes(-len(out) % to)


def _table(out: bytearray, table: Table) -> int:
    _pad(out)
    count = max(table, default=-1) + 1
    places, inline = [0] * count, 4
    for slot, value in table.items():
        size = struct.calcsize(_SCALARS[value[0]]) if isinstance(value, tuple) else 4
        inline += -inline % size
        places[slot] = inline
        inline += size
    vtable = len(out)
    out += struct.pack(f"<{count + 2}H", 4 + 2 * count, inline, *places)
    _pad(out)
    at = len(out)
    out += bytes(inline)
    struct.pack_into("<i", out, at, at - vtable)
    for slot, value in table.items():
        if isinstance(value, tuple):
            struct.pack_into(_SCALARS[value[0]], out, at + places[slot], value[1])
        else:
            _refer(out, at + places[slot], _child(out, value))
    return at


def _child(out: bytearray, value: Any) -> int:
    if isinstance(value, Table):
        return _table(out, value)
    if isinstance(value, list):
        _pad(out)
        at = len(out)
        out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for i, item in enumerate(value):
            _refer(out, at + 4 + 4 * i, _child(out, item))
        return at
    data = value.encode() if isinstance(value, str) else bytes(value) if isinstance(value, bytes) else value.tobytes()
    _pad(out, 16)
    out += bytes(12)  # the elements are aligned, not the count
    at = len(out)
    out += struct.pack("<I", len(data) if isinstance(value, str | bytes) else value.size) + data
    out += b"\0" * isinstance(value, str)
    return at


CODES = {
    name: number
    for number, name in (
        (0, "ADD"), (1, "AVERAGE_POOL_2D"), (2, "CONCATENATION"), (3, "CONV_2D"), (4, "DEPTHWISE_CONV_2D"), (6, "DEQUANTIZE"),
        (9, "FULLY_CONNECTED"), (11, "L2_NORMALIZATION"), (12, "L2_POOL_2D"), (14, "LOGISTIC"), (17, "MAX_POOL_2D"), (18, "MUL"),
        (19, "RELU"), (20, "RELU_N1_TO_1"), (21, "RELU6"), (22, "RESHAPE"), (25, "SOFTMAX"), (28, "TANH"), (34, "PAD"), (36, "GATHER"),
        (39, "TRANSPOSE"), (40, "MEAN"), (41, "SUB"), (42, "DIV"), (43, "SQUEEZE"), (44, "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        (45, "STRIDED_SLICE"), (48, "TOPK_V2"), (49, "SPLIT"), (53, "CAST"), (54, "PRELU"), (56, "ARG_MAX"), (58, "LESS"), (70, "EXPAND_DIMS"),
        (77, "SHAPE"), (82, "REDUCE_MAX"), (83, "PACK"), (88, "UNPACK"), (102, "SPLIT_V"), (114, "QUANTIZE"), (117, "HARD_SWISH"),
        (118, "IF"), (119, "WHILE"), (123, "SELECT_V2"), (124, "DENSIFY"), (126, "BATCH_MATMUL"), (129, "CALL_ONCE"),
        (142, "VAR_HANDLE"), (143, "READ_VARIABLE"), (144, "ASSIGN_VARIABLE"), (150, "GELU"), (152, "RELU_0_TO_1"),
    )
}  # fmt: skip
KINDS = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6, "int16": 7, "int8": 9, "resource": 13,
    "int4": 17, "bfloat16": 18,
}  # fmt: skip


def ints(values: Sequence[int]) -> np.ndarray[Any, Any]:
    return np.array(values, np.int32)


@dataclass
class Lite:
    """A model, or a subgraph of one (``inner``). Methods give indices of tensors."""

    tensors: list[Table] = field(default_factory=list)
    buffers: list[Table] = field(default_factory=lambda: [Table()])
    operators: list[Table] = field(default_factory=list)
    codes: list[Table] = field(default_factory=list)
    entries: list[Table] = field(default_factory=list)
    signatures: list[Table] = field(default_factory=list)
    others: list[Table | None] = field(default_factory=list)

    def inner(self, make: Callable[[Lite], tuple[Sequence[int], Sequence[int]]]) -> int:
        """Adds a subgraph that ``make`` fills, returning its inputs and outputs; its number."""
        number = len(self.others) + 1
        self.others.append(None)
        part = Lite(buffers=self.buffers, codes=self.codes, others=self.others)
        inputs, outputs = make(part)
        self.others[number - 1] = part.subgraph(inputs, outputs, f"part {number}")
        return number

    def subgraph(self, inputs: Sequence[int], outputs: Sequence[int], name: str) -> Table:
        return Table({0: self.tensors, 1: ints(inputs), 2: ints(outputs), 3: self.operators, 4: name})

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: str = "float32",
        *,
        signature: Sequence[int] = (),
        scale: float | Sequence[float] = (),
        zero: int | Sequence[int] = 0,
        axis: int = 0,
        data: bytes | None = None,
        more: Mapping[int, Any] | None = None,
    ) -> int:
        buffer = 0
        if data is not None:
            buffer = len(self.buffers)
            self.buffers.append(Table({0: data}))
        table = Table({0: ints(shape), 1: ("i8", KINDS[kind]), 2: ("u32", buffer), 3: name})
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        if scales.size:
            zeros = np.broadcast_to(np.asarray(zero, np.int64), scales.shape).copy()
            table[4] = Table({2: scales, 3: zeros, 6: ("i32", axis)})
        if signature:
            table[7] = ints(signature)
        self.tensors.append(Table(table | dict(more or {})))
        return len(self.tensors) - 1

    def constant(self, name: str, value: Any, kind: str = "", **more: Any) -> int:
        array = np.asarray(value)
        return self.tensor(name, array.shape, kind or array.dtype.name, data=array.tobytes(), **more)

    def op(
        self,
        name: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[int, Any] | None = None,
        custom: bytes = b"",
    ) -> None:
        """``name``: of a builtin op in CODES, else of a custom one, which has ``custom`` as its options."""
        code = CODES.get(name)
        other = Table({0: ("i8", 32), 1: name, 3: ("i32", 32)})
        found = other if code is None else Table({0: ("i8", min(code, 127)), 3: ("i32", code)})
        if found not in self.codes:
            self.codes.append(found)
        table = Table({0: ("u32", self.codes.index(found)), 1: ints(inputs), 2: ints(outputs)})
        if options is not None:
            table[4] = Table(options)
        if custom:
            table[5] = custom
        self.operators.append(table)

    def signature(self, inputs: Mapping[str, int], outputs: Mapping[str, int], key: str = "serving_default") -> None:
        maps = [[Table({0: name, 1: ("u32", i)}) for name, i in of.items()] for of in (inputs, outputs)]
        self.signatures.append(Table({0: maps[0], 1: maps[1], 2: key, 4: ("u32", 0)}))

    def entry(self, name: str, data: bytes) -> None:
        self.buffers.append(Table({0: data}))
        self.entries.append(Table({0: name, 1: ("u32", len(self.buffers) - 1)}))

    def bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        subgraphs = [self.subgraph(inputs, outputs, "main"), *self.others]
        root = Table({0: ("u32", 3), 1: self.codes, 2: subgraphs, 3: "a test", 4: self.buffers})
        if self.entries:
            root[6] = self.entries
        if self.signatures:
            root[7] = self.signatures
        return flatbuffer(root, b"TFL3")


def loop() -> bytes:
    """A loop with a branch in its body, and a variable."""
    lite = Lite()

    def half(part: Lite) -> tuple[list[int], list[int]]:
        a, b = part.tensor("a", (2,)), part.tensor("b", (2,))
        part.op("MUL", [a, part.constant("half", np.float32(0.5))], [b])
        return [a], [b]

    def goes_on(part: Lite) -> tuple[list[int], list[int]]:
        i, a, more = part.tensor("i", (), "int32"), part.tensor("a", (2,)), part.tensor("more", (), "bool")
        part.op("LESS", [i, part.constant("two", np.int32(2))], [more])
        return [i, a], [more]

    number, condition = lite.inner(half), lite.inner(goes_on)

    def step(part: Lite) -> tuple[list[int], list[int]]:
        i, a, less = part.tensor("i", (), "int32"), part.tensor("a", (2,)), part.tensor("less", (), "bool")
        j, b, one = part.tensor("j", (), "int32"), part.tensor("b", (2,)), part.constant("one", np.int32(1))
        part.op("LESS", [i, one], [less])
        part.op("IF", [less, a], [b], {0: ("i32", number), 1: ("i32", number)})
        part.op("ADD", [i, one], [j])
        return [i, a], [j, b]

    def setting(part: Lite) -> tuple[list[int], list[int]]:
        h = part.tensor("h", (), "resource")
        part.op("VAR_HANDLE", [], [h], {0: "", 1: "w"})
        part.op("ASSIGN_VARIABLE", [h, part.constant("w", np.ones(2, np.float32))], [])
        return [], []

    i, x, h, w = (
        lite.tensor("i", (), "int32"),
        lite.tensor("x", (2,)),
        lite.tensor("h", (), "resource"),
        lite.tensor("w", (2,)),
    )
    j, y, z = lite.tensor("j", (), "int32"), lite.tensor("y", (2,)), lite.tensor("z", (2,))
    body = lite.inner(step)
    lite.op("CALL_ONCE", [], [], {0: ("i32", lite.inner(setting))})
    lite.op("VAR_HANDLE", [], [h], {0: "", 1: "w"})
    lite.op("READ_VARIABLE", [h], [w])
    lite.op("WHILE", [i, x], [j, y], {0: ("i32", condition), 1: ("i32", body)})
    lite.op("MUL", [y, w], [z])
    return lite.bytes([i, x], [j, z])


def flex(numbers: Mapping[str, float]) -> bytes:
    """A FlexBuffer that is a map of integers and floats, all of four bytes; keys are sorted."""
    out, places = b"", []
    for name in sorted(numbers):
        places.append(len(out))
        out += name.encode() + b"\0"
    out += bytes(-len(out) % 4) + struct.pack("<I", len(places))
    keys = len(out)
    for place in places:
        out += struct.pack("<I", len(out) - place)
    out += struct.pack("<II", len(out) - keys, 4)
    out += struct.pack("<I", len(places))
    start = len(out)
    values = [numbers[name] for name in sorted(numbers)]
    out += b"".join(struct.pack("<f" if isinstance(v, float) else "<i", v) for v in values)
    out += bytes((3 if isinstance(v, float) else 1) << 2 | 2 for v in values)
    return out + struct.pack("<B", len(out) - start) + bytes([9 << 2 | 2, 1])


def metadata(mean: Sequence[float], std: Sequence[float], labels: str) -> bytes:
    """Of a model with one input, which is normalised, and one output, which has a file of labels."""
    options = Table({0: np.array(mean, np.float32), 1: np.array(std, np.float32)})
    image = Table({0: "image", 4: [Table({0: ("u8", 1), 1: options})]})
    scores = Table({0: "scores", 6: [Table({0: labels, 2: ("i8", 2)})]})
    return flatbuffer(Table({0: "net", 3: [Table({2: [image], 3: [scores]})]}), b"M001")
