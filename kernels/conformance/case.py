"""What a case is: one contract at given parameters, shapes, dtypes, values and kinds of memory."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..contracts.base import Contract, Tolerance
from ..kernel import Query
from ..numerics import Numerics
from ..tensor import STRING, DType, Params, TensorType, dtype_name

__all__ = ["F16", "F32", "F64", "MEMORIES", "PLACEMENTS", "Case", "Input", "Memory", "Oracle", "Values", "tensor"]

F16, F32, F64 = (np.dtype(name) for name in ("float16", "float32", "float64"))

NDArray = np.ndarray[Any, Any]
#: Makes an input's values: (random generator, shape, dtype) -> array.
Values = Callable[[np.random.Generator, tuple[int, ...], DType], NDArray]
#: The truth where the reference is not to be used: (inputs, params) -> outputs.
Oracle = Callable[[Sequence[NDArray], Any], Sequence[NDArray]]
#: The layout of an array in memory. 'dense': 64-byte aligned, row-major. 'slice': channels of a wider buffer, aligned to 64
#: bytes. 'pitched': the same at an odd offset and pitch. 'offset': dense, one element past alignment. 'misaligned':
#: dense, one byte past; a kernel may refuse that when it is bound.
Memory = Literal["dense", "slice", "pitched", "offset", "misaligned"]
#: All but the usual one.
MEMORIES: tuple[Memory, ...] = ("slice", "pitched", "offset", "misaligned")
#: Kinds of memory of (activations, output) that a kernel of images should accept.
PLACEMENTS: tuple[tuple[Memory, Memory], ...] = (
    ("slice", "dense"),
    ("dense", "slice"),
    ("slice", "slice"),
    ("pitched", "dense"),
    ("dense", "pitched"),
    ("pitched", "pitched"),
    ("offset", "offset"),
    ("misaligned", "dense"),
    ("dense", "misaligned"),
)


_NO_PARAMS = Params()


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a case."""

    type: TensorType
    values: Values
    constant: bool = False
    memory: Memory = "dense"


def tensor(
    shape: Sequence[int],
    values: Values,
    dtype: DType = F32,
    *,
    constant: bool = False,
    memory: Memory = "dense",
) -> Input:
    """An input of the given shape; float32 unless said otherwise."""
    return Input(TensorType(np.dtype(dtype), tuple(shape)), values, constant, memory)


@dataclass(frozen=True, slots=True)
class Case:
    """One check of one contract. ``id`` is unique inside the contract and stable: tests and benchmarks print it.

    ``memory`` is that of every output. ``inplace``: the number of the input whose memory the output takes over.
    ``typed_by``: the input whose dtype the case stands for. ``relate``: changes the random inputs in place where one
    must fit another. ``tags`` group cases: 'empty', 'nan', 'tail', 'strided', 'threads', 'inception', ...
    ``magnitude``: of the values, where it is not near 1; absolute tolerances grow with it.
    ``measure``: benchmarks time this case. It is no check of its own, so it may be as large as timing needs.
    """

    contract: Contract[Any]
    id: str
    inputs: tuple[Input, ...]
    params: Params = _NO_PARAMS
    tags: frozenset[str] = field(default_factory=frozenset)
    memory: Memory = "dense"
    threads: int = 1
    inplace: int | None = None
    tolerance: Tolerance | None = None
    oracle: Oracle | None = None
    typed_by: int = 0
    relate: Callable[[list[NDArray]], None] | None = None
    numerics: Numerics = Numerics()  # noqa: RUF009 - frozen
    measure: bool = False
    magnitude: float = 1.0

    @property
    def dtype(self) -> DType:
        """The element type under which the case counts in the support table."""
        return self.inputs[self.typed_by].type.dtype if self.inputs else self.query().outputs[0].dtype

    def query(self) -> Query:
        """The query that a plan would put to the registry."""
        types = tuple(i.type for i in self.inputs)
        return Query(
            self.contract,
            types,
            self.contract.check(types, self.params),
            self.params,
            frozenset(n for n, i in enumerate(self.inputs) if i.constant),
            self.threads,
            self.numerics,
        )

    def generate(self, seed: int) -> list[NDArray]:
        """The inputs for a seed; every case draws its own numbers."""
        rng = np.random.default_rng([seed, zlib.crc32(f"{self.contract.name} {self.id}".encode())])
        made: list[NDArray] = []
        for number, spec in enumerate(self.inputs):
            values = np.asarray(spec.values(rng, spec.type.dims, spec.type.dtype))
            if values.shape != spec.type.dims or values.dtype != spec.type.dtype:
                raise TypeError(
                    f"case {self}: input {number} should be {spec.type}, its values are "
                    f"{dtype_name(values.dtype)}{list(values.shape)}"
                )
            made.append(values)
        if self.relate is not None:
            self.relate(made)
        return made

    @property
    def strided(self) -> tuple[bool, bool]:
        """Whether inputs, and whether outputs, are views with a pitch."""
        pitched = ("slice", "pitched")
        return any(i.memory in pitched for i in self.inputs), self.memory in pitched

    @property
    def guarded(self) -> bool:
        """Strings are Python objects: they have no bytes to put guards around."""
        return all(t.dtype != STRING for t in (*(i.type for i in self.inputs), *self.query().outputs))

    def __str__(self) -> str:
        return f"{self.contract.name}[{self.id}]"
