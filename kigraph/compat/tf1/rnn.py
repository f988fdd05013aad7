"""tf.nn.static_rnn and its relatives: a cell over a sequence, step by step.

dynamic_rnn adds the operations of each step to the graph, so that gradients flow; the number of steps must be known while
the graph is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...graph import ops
from .array import shape, transpose
from .building import convert, via
from .graph import Tensor, get_default_graph
from .math import FUNCTIONS
from .parts import getitem, reverse, stack, where_v2
from .rnn_cell import RNNCell
from .scopes import variable_scope

__all__ = ["bidirectional_dynamic_rnn", "dynamic_rnn", "static_bidirectional_rnn", "static_rnn"]


def _flat(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, (list, tuple)) else [value]


def _combined(function: Callable[..., Any], first: Any, second: Any) -> Any:
    """A function of each two leaves of two equal nestings."""
    if isinstance(first, (list, tuple)):
        parts = [_combined(function, a, b) for a, b in zip(first, second, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    return function(first, second)


def _start(cell: Any, inputs: Tensor, axis: int, initial_state: Any, dtype: Any) -> Any:
    if initial_state is not None:
        return initial_state
    if dtype is None:
        raise ValueError("If there is no initial_state, you must give a dtype.")
    known = inputs.shape[axis].value
    return cell.zero_state(getitem(shape(inputs), axis) if known is None else known, dtype)


def _steps(cell: Any, steps: Sequence[Any], state: Any, lengths: Any) -> tuple[list[Any], Any]:
    """The outputs of all steps and the last state. Beyond an example's length outputs are 0, and its state stays."""
    outputs = []
    for time, inputs in enumerate(steps):
        output, new = cell(inputs, state)
        if lengths is not None:
            on = FUNCTIONS["greater"](lengths, time)[:, None]
            output = _combined(lambda a, b, on=on: where_v2(on, a, b), output, _combined(_zero_like, output, output))
            new = _combined(lambda a, b, on=on: where_v2(on, a, b), new, state)
        outputs.append(output)
        state = new
    return outputs, state


def _zero_like(x: Any, _: Any) -> Any:
    from .array import zeros_like

    return zeros_like(x)


def _checked_lengths(lengths: Any) -> Any:
    if lengths is None:
        return None
    lengths = convert(lengths, None, "sequence_length")
    if lengths.shape.ndims not in (None, 1):
        raise ValueError(f"sequence_length must be a vector of length batch_size, but saw shape: {lengths.shape}")
    return lengths


def _check_cell(cell: Any) -> None:
    if not isinstance(cell, RNNCell):
        raise TypeError(f"cell must be a tf.nn.rnn_cell.RNNCell, got {type(cell).__name__}")


def static_rnn(
    cell: Any, inputs: Any, initial_state: Any = None, dtype: Any = None, sequence_length: Any = None, scope: Any = None,
) -> tuple[list[Any], Any]:  # fmt: skip
    """(outputs, last state) of a list of inputs (batch, features), one for each step."""
    _check_cell(cell)
    if not isinstance(inputs, (list, tuple)):
        raise TypeError("inputs must be a sequence; tf.unstack(x, axis=1) makes one")
    if not inputs:
        raise ValueError("inputs must not be empty")
    with variable_scope(scope or "rnn"):
        steps = [convert(x) for x in inputs]
        return _steps(cell, steps, _start(cell, steps[0], 0, initial_state, dtype), _checked_lengths(sequence_length))


def dynamic_rnn(
    cell: Any, inputs: Any, sequence_length: Any = None, initial_state: Any = None, dtype: Any = None, parallel_iterations: Any = None,
    swap_memory: bool = False, time_major: bool = False, scope: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """(outputs, last state) of inputs (batch, steps, features), with time_major (steps, batch, features).

    ValueError if the number of steps is not known while the graph is built.
    """
    _check_cell(cell)
    with variable_scope(scope or "rnn"):
        x = convert(inputs)
        if x.shape.ndims is None or x.shape.ndims < 3:
            raise ValueError(f"dynamic_rnn: inputs have 3 axes: batch, steps, features; found shape {x.shape}")
        axis = 0 if time_major else 1
        count = x.shape[axis].value
        if count is None:
            raise ValueError(
                f"dynamic_rnn: the number of steps (axis {axis} of inputs, shape {x.shape}) must be known while the graph is "
                "built: state it in the placeholder's shape, pad shorter sequences and give sequence_length"
            )
        order = [1, 0, *range(2, x.shape.ndims)]
        x = x if time_major else transpose(x, order)
        state = _start(cell, x, 1, initial_state, dtype)
        lengths = _checked_lengths(sequence_length)
        outputs, state = _steps(cell, [x[time] for time in range(count)], state, lengths)
        together = _stacked(outputs)
        return (together if time_major else _combined(lambda y, _: transpose(y, order), together, together)), state


def _stacked(outputs: list[Any]) -> Any:
    if isinstance(outputs[0], (list, tuple)):
        parts = [_stacked([o[i] for o in outputs]) for i in range(len(outputs[0]))]
        return type(outputs[0])(*parts) if hasattr(outputs[0], "_fields") else type(outputs[0])(parts)
    return stack(outputs)


def _backwards(x: Any, lengths: Any, time_axis: int) -> Any:
    """The steps in reverse order, each example within its length."""
    if lengths is None:
        return reverse(x, [time_axis])
    return via(ops.reverse_sequence, x, lengths, name="ReverseSequence", seq_axis=time_axis, batch_axis=1 - time_axis)


def bidirectional_dynamic_rnn(
    cell_fw: Any, cell_bw: Any, inputs: Any, sequence_length: Any = None, initial_state_fw: Any = None, initial_state_bw: Any = None,
    dtype: Any = None, parallel_iterations: Any = None, swap_memory: bool = False, time_major: bool = False, scope: Any = None,
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:  # fmt: skip
    """((forward outputs, backward outputs), (forward state, backward state))"""
    axis = 0 if time_major else 1
    with variable_scope(scope or "bidirectional_rnn"):
        x, lengths = convert(inputs), _checked_lengths(sequence_length)
        with variable_scope("fw") as inner:
            ahead, end = dynamic_rnn(cell_fw, x, lengths, initial_state_fw, dtype, time_major=time_major, scope=inner)
        with variable_scope("bw") as inner:
            turned = _backwards(x, lengths, axis)
            back, start = dynamic_rnn(
                cell_bw, turned, lengths, initial_state_bw, dtype, time_major=time_major, scope=inner
            )
    with get_default_graph().name_scope(None):
        return (ahead, _backwards(back, lengths, axis)), (end, start)


def static_bidirectional_rnn(
    cell_fw: Any, cell_bw: Any, inputs: Any, initial_state_fw: Any = None, initial_state_bw: Any = None, dtype: Any = None,
    sequence_length: Any = None, scope: Any = None,
) -> tuple[list[Any], Any, Any]:  # fmt: skip
    """(outputs of both directions joined, forward state, backward state) of a list of inputs."""
    from .parts import concat, unstack

    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise TypeError("inputs must be a sequence that is not empty; tf.unstack(x, axis=1) makes one")
    with variable_scope(scope or "bidirectional_rnn"):
        lengths = _checked_lengths(sequence_length)
        with variable_scope("fw") as inner:
            ahead, end = static_rnn(cell_fw, inputs, initial_state_fw, dtype, lengths, inner)
        with variable_scope("bw") as inner:
            turned = inputs[::-1] if lengths is None else unstack(_backwards(stack(list(inputs)), lengths, 0))
            back, start = static_rnn(cell_bw, turned, initial_state_bw, dtype, lengths, inner)
        back = back[::-1] if lengths is None else unstack(_backwards(stack(back), lengths, 0))
        return [concat([a, b], 1) for a, b in zip(ahead, back, strict=True)], end, start
