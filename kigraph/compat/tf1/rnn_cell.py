"""tf.nn.rnn_cell: cells of recurrent networks with TensorFlow's variables ('basic_lstm_cell/kernel') and formulas.

A cell is called with inputs (batch, features) and a state, and gives (output, new state). Its variables are made by the
first call and shared by the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import nn
from .array import zeros
from .building import convert
from .graph import Tensor, get_default_graph
from .initializers import Constant, Zeros
from .math import FUNCTIONS, matmul
from .norms import clip_by_value
from .parts import concat, split
from .scopes import VariableScope, get_variable, variable_scope

__all__ = [
    "BasicLSTMCell",
    "BasicRNNCell",
    "DropoutWrapper",
    "GRUCell",
    "LSTMCell",
    "LSTMStateTuple",
    "MultiRNNCell",
    "RNNCell",
]

_f = FUNCTIONS


class LSTMStateTuple(NamedTuple):
    """The state of an LSTM cell: c, what it keeps, and h, its last output."""

    c: Any
    h: Any


class RNNCell:
    """Base class. A cell of one's own has state_size, output_size and call(inputs, state)."""

    #: The name of its variable scope where none is given.
    default_name = "rnn_cell"

    def __init__(self, name: str | None = None, reuse: Any = None, dtype: Any = None, trainable: bool = True) -> None:
        self._name, self._reuse, self._dtype, self._trainable = name, reuse, dtype, trainable
        self._scope: VariableScope | None = None
        self._weights: dict[str, Any] = {}

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        inputs = convert(inputs, self._dtype)
        if self._scope is None:
            given = scope or self._name or (self.default_name if self._reuse else None)
            with variable_scope(given, self.default_name, reuse=self._reuse) as made:
                self._scope = made
                return self.call(inputs, state)
        with variable_scope(self._scope, auxiliary_name_scope=False):
            graph = get_default_graph()
            with graph.name_scope(self._scope.name.rsplit("/", 1)[-1]):
                return self.call(inputs, state)

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        """(output, new state)"""
        raise NotImplementedError(f"{type(self).__name__} does not say what it computes")

    @property
    def state_size(self) -> Any:
        """The size of the state, or a tuple of sizes."""
        raise NotImplementedError("Abstract method")

    @property
    def output_size(self) -> Any:
        """The number of features of the output."""
        raise NotImplementedError("Abstract method")

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        """A state of zeros; batch_size may be a tensor."""
        with get_default_graph().name_scope(f"{type(self).__name__}ZeroState"):
            return _zeros(self.state_size, batch_size, dtype)

    @property
    def variables(self) -> list[Any]:
        """What the first call made."""
        return list(self._weights.values())

    weights = trainable_variables = trainable_weights = variables

    def _weight(self, name: str, sizes: Sequence[int], like: Tensor, initializer: Any = None) -> Any:
        if name not in self._weights:
            found = get_variable(name, list(sizes), like.dtype, initializer, None, self._trainable)
            self._weights[name] = found
        return self._weights[name]


def _zeros(sizes: Any, batch: Any, dtype: Any) -> Any:
    if isinstance(sizes, tuple):
        parts = [_zeros(s, batch, dtype) for s in sizes]
        return type(sizes)(*parts) if hasattr(sizes, "_fields") else tuple(parts)
    return zeros([batch, *(sizes if isinstance(sizes, list) else [sizes])], dtype)


def _width(inputs: Tensor) -> int:
    size = inputs.shape[-1].value if inputs.shape.ndims else None
    if size is None:
        raise ValueError(
            f"Expected inputs.shape[-1] to be known, saw shape: {inputs.shape}; reshape or set_shape states it"
        )
    return int(size)


def _chosen(activation: Any, default: str) -> Callable[[Any], Any]:
    if isinstance(activation, str):
        return FUNCTIONS[activation]
    return activation or FUNCTIONS[default]


class _OneState(RNNCell):
    """A cell whose output is its state, of ``_units`` numbers."""

    _units: int

    @property
    def state_size(self) -> int:
        return self._units

    @property
    def output_size(self) -> int:
        return self._units


class BasicRNNCell(_OneState):
    """h = activation([x, h] @ kernel + bias)"""

    default_name = "basic_rnn_cell"

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, name: str | None = None, dtype: Any = None, **other: Any
    ) -> None:  # fmt: skip
        super().__init__(name, reuse, dtype, **other)
        self._units, self._activation = num_units, _chosen(activation, "tanh")

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        kernel = self._weight("kernel", [_width(inputs) + self._units, self._units], inputs)
        bias = self._weight("bias", [self._units], inputs, Zeros())
        output = self._activation(nn.bias_add(matmul(concat([inputs, state], 1), kernel), bias))
        return output, output


class GRUCell(_OneState):
    """r, u = sigmoid([x, h] @ gates + bias);  c = activation([x, r h] @ candidate + bias);  h = u h + (1 - u) c"""

    default_name = "gru_cell"

    def __init__(
        self, num_units: int, activation: Any = None, reuse: Any = None, kernel_initializer: Any = None, bias_initializer: Any = None,
        name: str | None = None, dtype: Any = None, **other: Any,
    ) -> None:  # fmt: skip
        super().__init__(name, reuse, dtype, **other)
        self._units, self._activation = num_units, _chosen(activation, "tanh")
        self._kernel, self._bias = kernel_initializer, bias_initializer

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        n, width = self._units, _width(inputs) + self._units
        gates = self._weight("gates/kernel", [width, 2 * n], inputs, self._kernel)
        gates_bias = self._weight("gates/bias", [2 * n], inputs, self._bias or Constant(1.0))
        candidate = self._weight("candidate/kernel", [width, n], inputs, self._kernel)
        candidate_bias = self._weight("candidate/bias", [n], inputs, self._bias or Zeros())
        both = _f["sigmoid"](nn.bias_add(matmul(concat([inputs, state], 1), gates), gates_bias))
        r, u = split(both, 2, 1)
        new = self._activation(nn.bias_add(matmul(concat([inputs, r * state], 1), candidate), candidate_bias))
        h = u * state + (1 - u) * new
        return h, h


class LSTMCell(RNNCell):
    """i, j, f, o = [x, h] @ kernel + bias;  c = sigmoid(f + forget_bias) c + sigmoid(i) activation(j);  h = sigmoid(o) activation(c)

    use_peepholes: i, f and o see c, too. num_proj: h is projected to this size. cell_clip, proj_clip: limits of the values.
    """

    default_name = "lstm_cell"

    def __init__(
        self, num_units: int, use_peepholes: bool = False, cell_clip: float | None = None, initializer: Any = None,
        num_proj: int | None = None, proj_clip: float | None = None, num_unit_shards: Any = None, num_proj_shards: Any = None,
        forget_bias: float = 1.0, state_is_tuple: bool = True, activation: Any = None, reuse: Any = None, name: str | None = None,
        dtype: Any = None, **other: Any,
    ) -> None:  # fmt: skip
        super().__init__(name, reuse, dtype, **other)
        if num_unit_shards is not None or num_proj_shards is not None:
            raise ValueError("LSTMCell: shards are not supported by kigraph.compat.v1; leave them out")
        self._units, self._peepholes, self._clip, self._initializer = num_units, use_peepholes, cell_clip, initializer
        self._projected, self._projected_clip = num_proj, proj_clip
        self._forget, self._tuple, self._activation = forget_bias, state_is_tuple, _chosen(activation, "tanh")

    @property
    def state_size(self) -> Any:
        out = self.output_size
        return LSTMStateTuple(self._units, out) if self._tuple else self._units + out

    @property
    def output_size(self) -> int:
        return self._projected or self._units

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        n, out = self._units, self.output_size
        kernel = self._weight("kernel", [_width(inputs) + out, 4 * n], inputs, self._initializer)
        bias = self._weight("bias", [4 * n], inputs, Zeros())
        c, h = state if self._tuple else split(state, [n, out], 1)
        i, j, f, o = split(nn.bias_add(matmul(concat([inputs, h], 1), kernel), bias), 4, 1)
        if self._peepholes:
            names = ("w_f_diag", "w_i_diag", "w_o_diag")
            w_f, w_i, w_o = (self._weight(name, [n], inputs, self._initializer) for name in names)
            i, f = i + w_i * c, f + w_f * c
        kept = _f["sigmoid"](f + np.array(self._forget, inputs.core.dtype)) * c
        new = kept + _f["sigmoid"](i) * self._activation(j)
        if self._clip is not None:
            new = clip_by_value(new, -self._clip, self._clip)
        output = _f["sigmoid"](o + w_o * new if self._peepholes else o) * self._activation(new)
        if self._projected is not None:
            output = matmul(output, self._weight("projection/kernel", [n, out], inputs, self._initializer))
            if self._projected_clip is not None:
                output = clip_by_value(output, -self._projected_clip, self._projected_clip)
        return output, LSTMStateTuple(new, output) if self._tuple else concat([new, output], 1)


class BasicLSTMCell(LSTMCell):
    """An LSTM cell without peepholes and projection."""

    default_name = "basic_lstm_cell"

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, state_is_tuple: bool = True, activation: Any = None, reuse: Any = None,
        name: str | None = None, dtype: Any = None, **other: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            num_units, forget_bias=forget_bias, state_is_tuple=state_is_tuple, activation=activation, reuse=reuse, name=name,
            dtype=dtype, **other,
        )  # fmt: skip


class MultiRNNCell(RNNCell):
    """Cells one after the other; the state is the tuple of theirs."""

    default_name = "multi_rnn_cell"

    def __init__(self, cells: Sequence[RNNCell], state_is_tuple: bool = True) -> None:
        super().__init__()
        if not cells:
            raise ValueError("Must specify at least one cell for MultiRNNCell.")
        if not state_is_tuple:
            raise ValueError(
                "MultiRNNCell: state_is_tuple=False is not supported by kigraph.compat.v1; use tuples of states"
            )
        if len({id(c) for c in cells}) < len(cells):
            raise ValueError(
                "MultiRNNCell: one cell is given twice and would share its variables; make a cell for each layer"
            )
        self._cells = list(cells)

    @property
    def state_size(self) -> tuple[Any, ...]:
        return tuple(c.state_size for c in self._cells)

    @property
    def output_size(self) -> Any:
        return self._cells[-1].output_size

    @property
    def variables(self) -> list[Any]:
        return [v for c in self._cells for v in c.variables]

    weights = trainable_variables = trainable_weights = variables

    def call(self, inputs: Any, state: Any) -> tuple[Any, Any]:
        new = []
        for i, (cell, own) in enumerate(zip(self._cells, state, strict=True)):
            with variable_scope(f"cell_{i}"):
                inputs, after = cell(inputs, own)
            new.append(after)
        return inputs, tuple(new)


class DropoutWrapper(RNNCell):
    """A cell whose inputs, outputs and states are dropped with probabilities of 1 - keep_prob."""

    def __init__(
        self, cell: RNNCell, input_keep_prob: Any = 1.0, output_keep_prob: Any = 1.0, state_keep_prob: Any = 1.0,
        variational_recurrent: bool = False, input_size: Any = None, dtype: Any = None, seed: int | None = None,
        dropout_state_filter_visitor: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if variational_recurrent or dropout_state_filter_visitor or (seed is not None and state_keep_prob != 1.0):
            raise ValueError(
                "DropoutWrapper: variational_recurrent, dropout_state_filter_visitor and a seed with state_keep_prob are not "
                "supported by kigraph.compat.v1; leave them out"
            )
        self._cell, self._seed = cell, seed
        self._keep = {"input": input_keep_prob, "output": output_keep_prob, "state": state_keep_prob}

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    @property
    def variables(self) -> list[Any]:
        return self._cell.variables

    weights = trainable_variables = trainable_weights = variables

    def zero_state(self, batch_size: Any, dtype: Any) -> Any:
        return self._cell.zero_state(batch_size, dtype)

    def __call__(self, inputs: Any, state: Any, scope: Any = None) -> tuple[Any, Any]:
        output, new = self._cell(self._dropped(inputs, "input"), state, scope)
        return self._dropped(output, "output"), self._states(new)

    def _dropped(self, x: Any, which: str) -> Any:
        keep = self._keep[which]
        if isinstance(keep, (int, float)) and keep >= 1.0:
            return x
        return nn.dropout(x, keep_prob=keep, seed=self._own_seed(which))

    def _own_seed(self, which: str) -> int | None:
        """TensorFlow's seed of each place: a digest of the given one and the place."""
        if self._seed is None:
            return None
        from hashlib import md5

        return int(md5(f"{self._seed}{which}_0".encode()).hexdigest()[:8], 16) & 0x7FFFFFFF

    def _states(self, state: Any) -> Any:
        if isinstance(state, LSTMStateTuple):  # what an LSTM keeps is not dropped, only its output
            return LSTMStateTuple(state.c, self._dropped(state.h, "state"))
        if isinstance(state, tuple):
            return tuple(self._states(s) for s in state)
        return self._dropped(state, "state")
