"""The graph while a model is converted: the file's tensors as tensors of the graph, and what converters build with.

A quantised activation has up to three forms, each made when it is first read: the file's integers, numbers of steps of its
scale in float32 (quantization.py), reals. int8 and uint8 stay integers where an operator takes them (integers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from ....kernels.tensor import DType, Shape
from ...builder import Graph, Tensor
from ...formats.flatbuffers.tflite import OperatorDef, Quantization, SubgraphDef, TensorDef
from ...formats.limits import Budget
from ...formats.source import Source
from ...ir import Literal
from .constants import KINDS, Change, Constant, constant_of, kind_name
from .nodes import Nodes, legal
from .quantization import Halves, from_integers, quantized, reals, to_integers, to_steps, unit

__all__ = ["Build", "Converter", "Refused", "Use"]


_MOST_OPTIONS = 1 << 16
#: Numbers of the element types uint8 and int8.
_BYTES = (3, 9)


class Refused(Exception):  # noqa: N818 - a signal: the operator stays in the graph as one that cannot run
    """A converter does not serve this use of an operator; the text says what and why."""


def _no_subgraph(number: int) -> Build:
    raise Refused(f"subgraph {number}")


class Build(Nodes):
    """One subgraph. ``given``: tensors by index as far as they are built; ``free``: any batch may be fed."""

    def __init__(self, graph: Graph, model: SubgraphDef, place: str, source: Source, budget: Budget) -> None:
        super().__init__(graph, budget)
        self.model, self.place = model, place
        self.source = source
        self.given: dict[int, Tensor] = {}
        #: Of tensors that the file has as integers that stand for reals: numbers of steps, and the integers.
        self.steps: dict[int, Tensor] = {}
        self.integers: dict[int, Tensor] = {}
        #: What a placeholder gives, by the index of the input.
        self.fed: dict[int, Tensor] = {}
        #: Results of operators that only expand constants.
        self._derived: dict[int, Constant] = {}
        self._constants: dict[int, Constant | None] = {}
        self._layouts: dict[tuple[int, Change | None], Tensor] = {}
        self._biases: dict[tuple[int, bytes], Tensor] = {}
        self._stored: dict[tuple[int, Change | None], Tensor] = {}
        self._in_steps: dict[tuple[int, Change | None], Tensor] = {}
        self._produced = {t for op in model.operators for t in op.outputs}
        self.free = False
        #: Another subgraph as a graph of its own, with inputs of these shapes; and one of which only constants are read.
        self.enclosed: Callable[[int, Sequence[Shape]], Build] | None = None
        self.setting: Callable[[int], Build] = _no_subgraph

    def tensor(self, index: int) -> TensorDef:
        return self.model.tensors[index]

    def where(self, index: int) -> str:
        tensor = self.tensor(index)
        return f"{self.place}tensor {index} ('{tensor.name[:80]}')"

    def activation_grid(self, index: int) -> bool:
        """Whether the file has the tensor as integers that stand for reals."""
        tensor = self.tensor(index)
        kind = KINDS.get(tensor.kind)
        q = tensor.quantization
        small = kind is not None and kind.kind in "iu" and kind.itemsize <= 2
        return small and q is not None and q.scale.size == 1 and 1e-30 < q.scale[0] < 1e30

    def byte_grid(self, index: int) -> bool:
        """Whether these integers are int8 or uint8, with a zero point among them."""
        dtype = KINDS.get(self.tensor(index).kind)
        if not self.activation_grid(index) or self.tensor(index).kind not in _BYTES or dtype is None:
            return False
        limits, zero = np.iinfo(dtype), self.grid(index).zero_point
        return zero.size == 1 and bool(limits.min <= zero[0] <= limits.max)

    def grid(self, index: int) -> Quantization:
        q = self.tensor(index).quantization
        assert q is not None
        return q

    # --- constants ------------------------------------------------------------------------------------------------------

    def constant(self, index: int) -> Constant | None:
        """The constant of a tensor, None for one that is computed or fed."""
        if index in self._derived:
            return self._derived[index]
        if index not in self._constants:
            self._constants[index] = self._constant(index)
        return self._constants[index]

    def _constant(self, index: int) -> Constant | None:
        tensor = self.tensor(index)
        if index in self._produced or index in self.model.inputs or tensor.variable or tensor.external:
            return None
        if tensor.data is None and 0 not in tensor.shape:
            return None
        return constant_of(tensor, self.source, self.budget, self.where(index))

    def literal(self, index: int, change: Change | None = None) -> Literal | None:
        found = self.constant(index)
        if found is None:
            return None
        return found.literal(change, KINDS.get(self.tensor(index).kind) if index in self._derived else None)

    def derive(self, index: int, constant: Constant) -> None:
        """A tensor that is a constant in another form, expanded to the tensor's element type when it is read."""
        self._derived[index] = constant

    # --- tensors --------------------------------------------------------------------------------------------------------

    def value(self, index: int, change: Change | None = None) -> Tensor:
        """The tensor in the graph, in another layout if ``change`` says so. Constants are added when they are first used."""
        if index not in self.given and (index in self.steps or index in self.integers):
            self.given[index] = self._reals(index)
        if index in self.given and change is None:
            return self.given[index]
        key = (index, change)
        if key not in self._layouts:
            literal = self.literal(index, change)
            self._layouts[key] = self._const(index, literal) if literal is not None else self._changed(index, change)
        return self._layouts[key]

    def _reals(self, index: int) -> Tensor:
        name, q = legal(self.tensor(index).name), self.grid(index)
        if index in self.steps or not self.byte_grid(index):
            return reals(self, self.in_steps(index), q, name)
        attrs = {"scale": float(q.scale[0]), "zero": int(q.zero_point[0])}
        return self.add("KiDequantize", [self.integers[index]], attrs, name)

    def _const(self, index: int, literal: Literal) -> Tensor:
        return self.const(literal, legal(self.tensor(index).name or "constant"))

    def scaled(self, index: int, q: Quantization | None) -> Tensor:
        """A bias of integers in float32, at a scale that follows from other tensors or, without one, as it is."""
        constant = self.constant(index)
        assert constant is not None
        key = (index, b"" if q is None else q.scale.tobytes())
        if key not in self._biases:
            literal = replace(constant, quantization=q).literal(None, np.dtype(np.float32))
            self._biases[key] = self._const(index, literal)
        return self._biases[key]

    def _changed(self, index: int, change: Change | None) -> Tensor:
        if index not in self.given:
            return self._missing(index)
        value, name = self.given[index], legal(self.tensor(index).name)
        for op, wanted in () if change is None else (("Transpose", change.perm), ("Reshape", change.sizes)):
            if wanted is not None:
                value = self.add(op, [value, self.known(wanted)], {}, name)
        return value

    def _missing(self, index: int) -> Tensor:
        """A tensor without a value: state of a recurrent network, text, weights in another file."""
        tensor = self.tensor(index)
        if not (tensor.variable or tensor.external or tensor.kind not in KINDS):
            raise self.budget.error(
                self.where(index),
                "no data, and no operator before it that gives it",
                "a constant, an input or a result",
            )
        op = "TFLite_variable" if tensor.variable else f"TFLite_{kind_name(tensor.kind)}".replace(" ", "_")
        self.given[index] = self.create(op, (), {}, legal(tensor.name))[0]
        return self.given[index]

    def feed(self, index: int, shape: tuple[int | None, ...] | None) -> None:
        """An input of the model, in the file's element type."""
        tensor = self.tensor(index)
        dtype, name = KINDS.get(tensor.kind), legal(tensor.name or "input")
        if dtype is None:
            fed = self.create(f"TFLite_{kind_name(tensor.kind)}", (), {}, name)[0]
        else:
            fed = self.create("Placeholder", (), {"dtype": dtype, "shape": shape}, name)[0]
        self.fed[index] = self.given[index] = fed
        if self.activation_grid(index):
            self.integers[index] = self.given.pop(index)

    def feedable(self, index: int) -> Tensor:
        """The tensor of a signature's input."""
        return self.fed[index] if index in self.fed else self.value(index)

    @property
    def quantized_grid(self) -> bool:
        """Whether activations are integers in the file."""
        return any(self.activation_grid(i) for i in (*self.steps, *self.integers))

    def in_steps(self, index: int, change: Change | None = None) -> Tensor:
        """A tensor of integers that stand for reals, as numbers of steps."""
        if index in self.integers and index not in self.steps:
            name = legal(self.tensor(index).name)
            self.steps[index] = from_integers(self, self.integers[index], self.grid(index), name)
        if index in self.steps and change is None:
            return self.steps[index]
        constant = self.constant(index)
        key = (index, change)
        if key not in self._in_steps:
            if constant is not None and constant.quantization is not None:
                literal = replace(constant, quantization=unit(constant.quantization)).literal(change)
                self._in_steps[key] = self._const(index, literal)
            else:
                name, kind = legal(self.tensor(index).name), KINDS[self.tensor(index).kind]
                self._in_steps[key] = to_steps(self, self.value(index, change), self.grid(index), kind, name)
        return self._in_steps[key]

    def result(self, index: int) -> Tensor:
        """A tensor in the file's element type, as the model gives it out."""
        if index in self.integers or self.activation_grid(index):
            if index not in self.integers:
                name, kind = legal(self.tensor(index).name), KINDS[self.tensor(index).kind]
                self.integers[index] = to_integers(self, self.in_steps(index), self.grid(index), kind, name)
            return self.integers[index]
        return self.value(index)

    def integer(self, index: int) -> Tensor:
        """A tensor of integers that stand for reals, as they are."""
        return self.stored(index) if self.constant(index) is not None else self.result(index)

    def stored(self, index: int) -> Tensor:
        """A constant as the file has it."""
        key = (index, None)
        if key not in self._stored:
            constant = self.constant(index)
            assert constant is not None
            self._stored[key] = self._const(index, replace(constant, quantization=None).literal())
        return self._stored[key]

    def weights(self, index: int, change: Change) -> Tensor:
        """Constant integers of a byte as int8 around 0, in another layout."""
        key = (index, change)
        if key not in self._stored:
            constant, dtype = self.constant(index), np.dtype(np.int8)
            assert constant is not None
            assert constant.quantization is not None
            kept = None if KINDS[constant.kind] == dtype else unit(constant.quantization)
            self._stored[key] = self._const(index, replace(constant, quantization=kept).literal(change, dtype))
        return self._stored[key]

    def store(self, index: int, value: Tensor, halves: Halves) -> None:
        """A result of an operator in reals, or whatever else it is."""
        if self.activation_grid(index):
            name, kind = legal(self.tensor(index).name), KINDS[self.tensor(index).kind]
            if halves == "even" and self.byte_grid(index) and value.dtype == np.float32:
                self.integers[index] = quantized(self, value, self.grid(index), kind, name)
            else:
                self.steps[index] = to_steps(self, value, self.grid(index), kind, name, halves)
        else:
            self.given[index] = value

    def store_as_filed(self, index: int, value: Tensor) -> None:
        """A result that is in the file's element type already."""
        if self.activation_grid(index):
            self.integers[index] = value
        else:
            self.given[index] = value

    def has_value(self, index: int) -> bool:
        return index in self.given or index in self.steps or index in self.integers


class Use:
    """One operator, as its converter sees it. ``x``: input i in the graph; ``option``: a field of the operator's options."""

    def __init__(self, build: Build, operator: OperatorDef) -> None:
        self.build, self.operator = build, operator
        outputs = operator.outputs
        #: Inputs and results are numbers of steps: the operator only moves elements, all of one grid.
        self.stepwise = False
        #: Inputs that stand for reals are integers of a byte: the operator only moves elements, all of one grid.
        self.whole = False
        #: Results are in the file's element types.
        self.stored = False
        self.halves: Halves = "even"
        self.name = legal(build.tensor(outputs[0]).name or operator.name) if outputs else legal(operator.name)

    @property
    def count(self) -> int:
        return len(self.operator.inputs)

    def has(self, i: int) -> bool:
        return i < self.count and self.operator.inputs[i] >= 0

    def index(self, i: int) -> int:
        if not self.has(i):
            raise self.build.budget.error(
                f"{self.build.place}{self.operator}", f"{self.count} inputs, or input {i} left out", f"input {i}"
            )
        return self.operator.inputs[i]

    def x(self, i: int, change: Change | None = None) -> Tensor:
        index = self.index(i)
        if self.whole and self.build.tensor(index).quantization is not None:
            return self.build.integer(index) if change is None else self.build.weights(index, change)
        if self.stepwise and self.build.tensor(index).quantization is not None:
            return self.build.in_steps(index, change)
        return self.build.value(index, change)

    def xs(self) -> list[Tensor]:
        return [self.x(i) for i in range(self.count)]

    def raw(self, i: int) -> Tensor:
        """Input i in the file's element type, integers as they are."""
        index = self.index(i)
        constant = self.build.constant(index)
        if constant is not None and constant.quantization is not None:
            return self.build.known(constant.stored(), KINDS[constant.kind], f"{self.name}/stored")
        return self.build.result(index)

    def given(self, i: int) -> TensorDef:
        """What the file says of input i."""
        return self.build.tensor(self.index(i))

    def out(self, i: int = 0) -> TensorDef:
        if i >= len(self.operator.outputs):
            raise self.build.budget.error(f"{self.build.place}{self.operator}", f"no output {i}", "an output")
        return self.build.tensor(self.operator.outputs[i])

    def out_dtype(self, i: int = 0) -> DType:
        """The element type that output i has in the graph."""
        kind = KINDS.get(self.out(i).kind)
        if kind is None:
            raise Refused(f"gives elements of type {kind_name(self.out(i).kind)}")
        return np.dtype(np.float32) if self.build.activation_grid(self.operator.outputs[i]) else kind

    def constant(self, i: int) -> Constant | None:
        return self.build.constant(self.index(i))

    def option(self, slot: int, kind: str = "int32", default: Any = 0) -> Any:
        options = self.operator.options
        return default if options is None else options.number(slot, kind, default)

    def option_ints(self, slot: int) -> tuple[int, ...]:
        options = self.operator.options
        return () if options is None else options.integers(slot)

    def custom_options(self) -> bytes:
        """The options of a custom operator."""
        span = self.operator.custom_options
        if span is None or span.length > _MOST_OPTIONS:
            raise Refused("without options" if span is None else f"{span.length:,} bytes of options")
        return self.build.source.read(span.start, span.length)

    def add(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any] | None = None) -> Tensor:
        """The first output of a new operation."""
        return self.build.add(op, inputs, attrs or {}, self.name)

    def all(self, op: str, inputs: Sequence[Tensor], attrs: Mapping[str, Any], outputs: int) -> tuple[Tensor, ...]:
        """All outputs of a new operation."""
        return self.build.create(op, inputs, attrs, f"{self.name}/{op}", outputs)

    def scalar(self, value: float, like: Tensor | None = None) -> Tensor:
        """A constant of the element type of ``like``, float32 if that is not known."""
        return self.build.known(value, np.float32 if like is None or like.dtype.kind not in "fiu" else like.dtype)

    def ints(self, values: int | Sequence[int]) -> Tensor:
        """A vector, or one integer."""
        return self.build.known(values)


#: What makes the results of an operator: one tensor, or a tuple of them.
Converter: TypeAlias = Callable[[Use], Tensor | tuple[Tensor, ...]]
