"""The tables of a TensorFlow Lite model (schema version 3) as records; field numbers are those of tensorflow/lite/schema.

Weights are not read, and the options of an operator stay a table: which fields it has, its converter knows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..limits import Budget
from ..source import Source
from .reader import Reader, Span, Table

__all__ = [
    "MAGIC", "NAMES", "Axis", "ModelDef", "OperatorDef", "Quantization", "SignatureDef", "Sparsity", "SubgraphDef", "TensorDef",
    "read_model",
]  # fmt: skip

MAGIC = b"TFL3"
_VERSION = 3
_CUSTOM = 32
#: Codes from here on do not fit into the field that old files have.
_GREATER = 127

_BY_NUMBER = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM
    MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS
    SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND
    TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT
    LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL
    LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
    ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV
    REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS
    SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG
    ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
    BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
    HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE
    RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST
    BITWISE_XOR RIGHT_SHIFT
"""
#: Builtin operators by number. Those of StableHLO, which have greater numbers, are not converted.
NAMES: tuple[str, ...] = tuple(_BY_NUMBER.split())


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = (stored - zero_point) * scale; one pair for the whole tensor, or one for each index on ``axis``."""

    scale: np.ndarray[Any, Any]
    zero_point: np.ndarray[Any, Any]
    axis: int


@dataclass(frozen=True, slots=True)
class Axis:
    """A level of a sparse tensor: ``size`` dense entries, or those that ``segments`` and ``indices`` name (CSR)."""

    size: int
    segments: np.ndarray[Any, Any] | None
    indices: np.ndarray[Any, Any] | None


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Levels in their order: the tensor's axes, then blocks inside of the axes that ``blocks`` names."""

    order: tuple[int, ...]
    blocks: tuple[int, ...]
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class TensorDef:
    """``shape``: as it was converted. ``signature``: with -1 for sizes that may differ, () where the file says nothing.

    ``data``: where the constant is in the file, None for a tensor without one. ``kind``: number of the element type.
    """

    index: int
    name: str
    kind: int
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    has_rank: bool
    data: Span | None
    quantization: Quantization | None
    sparsity: Sparsity | None
    variable: bool
    external: bool


@dataclass(frozen=True, slots=True)
class OperatorDef:
    """``name``: of the builtin op, or the file's name of a custom one, whose options are bytes. Index -1: no such input."""

    index: int
    name: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    custom_options: Span | None

    def __str__(self) -> str:
        return f"operator {self.index} ({self.name})"


@dataclass(frozen=True, slots=True)
class SubgraphDef:
    """``inputs``, ``outputs``: indices of tensors. Operators come in an order in which they can run."""

    name: str
    tensors: tuple[TensorDef, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[OperatorDef, ...]


@dataclass(frozen=True, slots=True)
class SignatureDef:
    """Names -> indices of tensors of subgraph ``subgraph``."""

    key: str
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    subgraph: int


@dataclass(frozen=True, slots=True)
class ModelDef:
    """``subgraphs``: the first one and those of signatures; ``inner`` reads any. ``metadata``: name -> where it is in the file."""

    description: str
    subgraphs: dict[int, SubgraphDef]
    signatures: tuple[SignatureDef, ...]
    metadata: dict[str, Span]
    inner: Callable[[int], SubgraphDef]


def read_model(source: Source, budget: Budget) -> ModelDef:
    """The first subgraph and those that signatures name. Raises LoadError for whatever the schema does not allow."""
    root = Reader(source, budget, "the TensorFlow Lite model").root()
    version = root.number(0, "uint32", 0)
    if version != _VERSION:
        raise budget.error("the TensorFlow Lite model", f"schema version {version}", f"version {_VERSION}")
    return _Model(source, budget, root).read()


class _Model:
    def __init__(self, source: Source, budget: Budget, root: Table) -> None:
        self.source, self.budget, self.root = source, budget, root
        self.codes = [self._code(t) for t in root.tables(1, "the operator codes")]
        self.buffers = [self._buffer(i, t) for i, t in enumerate(root.tables(4, "the buffers"))]

    def read(self) -> ModelDef:
        tables = self.root.tables(2, "the subgraphs")
        if not tables:
            raise self.budget.error("the TensorFlow Lite model", "no subgraph", "a graph")
        signatures = tuple(self._signature(t) for t in self.root.tables(7, "the signatures"))
        wanted = sorted({0, *(s.subgraph for s in signatures)})
        if wanted[-1] >= len(tables):
            raise self.budget.error("the signatures", f"subgraph {wanted[-1]}", f"one of {len(tables)}")
        metadata: dict[str, Span] = {}
        for table in self.root.tables(6, "the metadata"):
            span = self._data(table.number(1, "uint32", 0), "the metadata")
            if span is not None:
                metadata[table.text(0)] = span
        subgraphs = {i: self._subgraph(tables[i], f"subgraph {i}") for i in wanted}

        @functools.cache
        def inner(number: int) -> SubgraphDef:
            if not 0 <= number < len(tables):
                raise self.budget.error("an operator", f"subgraph {number}", f"one of {len(tables)}")
            return self._subgraph(tables[number], f"subgraph {number}")

        return ModelDef(self.root.text(3), subgraphs, signatures, metadata, inner)

    def _code(self, table: Table) -> tuple[str, bool]:
        """Codes up to 127 are in a byte; newer files have them in another field, too, and the greater one counts."""
        code = max(table.number(0, "int8", 0), table.number(3, "int32", 0))
        if code == _CUSTOM:
            return table.text(1) or "CUSTOM", True
        return (NAMES[code] if 0 <= code < len(NAMES) and code != _GREATER else f"BUILTIN_{code}"), False

    def _buffer(self, index: int, table: Table) -> Span | None:
        """Bytes in the buffer itself or, beyond 2 GB, anywhere in the file."""
        offset, size = table.number(1, "uint64", 0), table.number(2, "uint64", 0)
        if offset > 1:  # 0 and 1 mean that it is not used
            if offset + size > self.source.size:
                raise self.budget.error(
                    f"buffer {index}", f"{size:,} bytes at byte {offset:,}", f"an end before byte {self.source.size:,}"
                )
            return Span(offset, size)
        span = table.span(0, 1)
        return span if span is not None and span.length else None

    def _data(self, buffer: int, place: str) -> Span | None:
        if buffer >= len(self.buffers):
            raise self.budget.error(place, f"buffer {buffer}", f"one of {len(self.buffers)}")
        return self.buffers[buffer]

    def _signature(self, table: Table) -> SignatureDef:
        maps = [
            tuple((m.text(0), m.number(1, "uint32", 0)) for m in table.tables(slot, "a signature")) for slot in (0, 1)
        ]
        return SignatureDef(table.text(2), maps[0], maps[1], table.number(4, "uint32", 0))

    def _subgraph(self, table: Table, place: str) -> SubgraphDef:
        tensors = tuple(self._tensor(i, t, place) for i, t in enumerate(table.tables(0, f"{place}, the tensors")))
        operators = table.tables(3, f"{place}, the operators")
        return SubgraphDef(
            table.text(4),
            tensors,
            self._indices(table, 1, tensors, f"{place}, the inputs"),
            self._indices(table, 2, tensors, f"{place}, the outputs"),
            tuple(self._operator(i, t, tensors, place) for i, t in enumerate(operators)),
        )

    def _indices(
        self, table: Table, slot: int, tensors: tuple[TensorDef, ...], place: str, least: int = 0
    ) -> tuple[int, ...]:
        found = table.integers(slot)
        wrong = next((i for i in found if not least <= i < len(tensors)), None)
        if wrong is not None:
            raise self.budget.error(place, f"tensor {wrong}", f"one of {len(tensors)}")
        return found

    def _operator(self, index: int, table: Table, tensors: tuple[TensorDef, ...], place: str) -> OperatorDef:
        place = f"{place}, operator {index}"
        code = table.number(0, "uint32", 0)
        if code >= len(self.codes):
            raise self.budget.error(place, f"operator code {code}", f"one of {len(self.codes)}")
        inputs = self._indices(table, 1, tensors, f"{place}, the inputs", -1)
        outputs = self._indices(table, 2, tensors, f"{place}, the outputs")
        name, custom = self.codes[code]
        return OperatorDef(index, name, custom, inputs, outputs, table.table(4), table.span(5, 1))

    def _tensor(self, index: int, table: Table, place: str) -> TensorDef:
        place = f"{place}, tensor {index}"
        shape, signature = table.integers(0), table.integers(7)
        if any(d < 0 for d in shape) or any(d < -1 for d in signature):
            raise self.budget.error(
                place, f"shape {shape}, signature {signature}", "sizes from 0, or -1 in the signature"
            )
        if signature and len(signature) != len(shape):
            raise self.budget.error(place, f"shape {shape}, signature {signature}", "as many sizes in both")
        quantization, sparsity = table.table(4), table.table(6)
        return TensorDef(
            index,
            table.text(3),
            table.number(1, "int8", 0),
            shape,
            signature,
            table.number(8, "bool", False),
            self._data(table.number(2, "uint32", 0), place),
            None if quantization is None else self._quantization(quantization, shape, place),
            None if sparsity is None else self._sparsity(sparsity, place),
            table.number(5, "bool", False),
            table.number(10, "uint32", 0) != 0,
        )

    def _quantization(self, table: Table, shape: tuple[int, ...], place: str) -> Quantization | None:
        if table.number(4, "uint8", 0):
            raise self.budget.error(
                place, "custom or blockwise quantisation", "a scale for the tensor or for each channel"
            )
        scale, zero_point = table.array(2, "float32"), table.array(3, "int64")
        if not scale.size:  # minimum and maximum alone are what training saw
            return None
        axis = table.number(6, "int32", 0)
        if not zero_point.size:
            zero_point = np.zeros(scale.size, np.int64)
        if zero_point.size == 1:
            zero_point = np.repeat(zero_point, scale.size)
        if scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size):
            raise self.budget.error(
                place, f"{scale.size} scales on axis {axis} of shape {shape}", "one for every index on that axis"
            )
        if zero_point.size != scale.size or not np.isfinite(scale).all() or (scale < 0).any():
            raise self.budget.error(
                place, f"{zero_point.size} zero points, scales {scale[:4]}", "equal numbers, scales from 0"
            )
        return Quantization(scale, zero_point, axis) if scale.any() else None

    def _sparsity(self, table: Table, place: str) -> Sparsity:
        axes = []
        for level in table.tables(2, f"{place}, the sparsity"):
            parts = [
                _integers(level.table(s + 1), level.number(s, "uint8", 0), self.budget, place) for s in (2, 4)
            ]  # a union: its kind, then the table
            sparse = level.number(0, "int8", 0) == 1
            axes.append(Axis(level.number(1, "int32", 0), *(parts if sparse else (None, None))))
        return Sparsity(table.integers(0), table.integers(1), tuple(axes))


def _integers(table: Table | None, kind: int, budget: Budget, place: str) -> np.ndarray[Any, Any]:
    dtype = {1: "int32", 2: "uint16", 3: "uint8"}.get(kind)
    if table is None or dtype is None:
        return np.empty(0, np.int64)
    return table.array(0, dtype).astype(np.int64)
