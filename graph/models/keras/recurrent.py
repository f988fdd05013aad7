"""Recurrent layers, unrolled: every step of a sequence of known length is a part of the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import ops
from ...builder import Tensor
from ...formats.limits import brief
from .activations import activate
from .building import MOST_NODES, Building
from .config import Layer
from .loops import looped

__all__ = ["RECURRENT"]

#: Steps of one sequence: each is about ten operations.
_MAX_STEPS = 2_000
_NODES_OF_A_STEP = 12
States = list[Any]
#: (cell, a step's share of the input, states before it) -> (output, states); None stands for zeros.
Step = Callable[[Building, Tensor, States], tuple[Tensor, States]]


def _gate(b: Building, x: Tensor) -> Tensor:
    return activate(b, x, b.config.get("recurrent_activation", "sigmoid"))


def _activated(b: Building, x: Tensor) -> Tensor:
    return activate(b, x, b.config.get("activation", "tanh"))


def _lstm(b: Building, x: Tensor, states: States) -> tuple[Tensor, States]:
    h, c = states
    units = b.whole("units")
    if h is not None:
        x = ops.add(x, ops.matmul(h, b.weight("recurrent_kernel", units, 4 * units)))
    i, f, new, o = ops.split(x, 4, axis=1)
    added = ops.multiply(_gate(b, i), _activated(b, new))
    c = added if c is None else ops.add(ops.multiply(_gate(b, f), c), added)
    h = ops.multiply(_gate(b, o), _activated(b, c))
    return h, [h, c]


def _gru(b: Building, x: Tensor, states: States) -> tuple[Tensor, States]:
    """Update, reset and new; with reset_after the reset gate works on the product, bias included."""
    (h,) = states
    units = b.whole("units")
    kernel = b.weight("recurrent_kernel", units, 3 * units)
    xz, xr, xn = ops.split(x, 3, axis=1)
    if b.flag("reset_after", b.shared.keras3):
        product = None if h is None else ops.matmul(h, kernel)
        if b.flag("use_bias", True):
            bias = ops.slice(b.weight("bias", 2, 3 * units), [1, 0], [1, 3 * units])
            product = bias if product is None else ops.add(product, bias)
        if product is None:
            z, r, new = _gate(b, xz), None, xn
        else:
            hz, hr, hn = ops.split(product, 3, axis=1)
            z, r = _gate(b, ops.add(xz, hz)), _gate(b, ops.add(xr, hr))
            new = ops.add(xn, ops.multiply(r, hn))
    elif h is None:
        z, new = _gate(b, xz), xn
    else:
        gates, last = (ops.slice(kernel, [0, at], [units, n]) for at, n in ((0, 2 * units), (2 * units, units)))
        hz, hr = ops.split(ops.matmul(h, gates), 2, axis=1)
        z, r = _gate(b, ops.add(xz, hz)), _gate(b, ops.add(xr, hr))
        new = ops.add(xn, ops.matmul(ops.multiply(r, h), last))
    new = _activated(b, new)
    made = ops.multiply(ops.subtract(1.0, z), new)
    made = made if h is None else ops.add(ops.multiply(z, h), made)
    return made, [made]


def _simple(b: Building, x: Tensor, states: States) -> tuple[Tensor, States]:
    (h,) = states
    units = b.whole("units")
    if h is not None:
        x = ops.add(x, ops.matmul(h, b.weight("recurrent_kernel", units, units)))
    made = _activated(b, x)
    return made, [made]


#: Class of a cell -> (gates, states, step).
_CELLS: dict[str, tuple[int, int, Step]] = {
    "LSTMCell": (4, 2, _lstm),
    "GRUCell": (3, 1, _gru),
    "SimpleRNNCell": (1, 1, _simple),
}


def _inputs(b: Building, x: Tensor, gates: int) -> Tensor:
    """(batch, steps, channels) -> the share of the input in all gates, for all steps at once."""
    units, channels = b.whole("units"), b.fixed(x, -1)[0]
    y = ops.matmul(b.rows(x, channels), b.weight("kernel", channels, gates * units))
    if b.flag("use_bias", True):
        if gates == 3 and b.flag("reset_after", b.shared.keras3):
            bias = ops.slice(b.weight("bias", 2, 3 * units), [0, 0], [1, 3 * units])
            y = ops.add(y, bias)
        else:
            y = ops.bias_add(y, b.weight("bias", gates * units))
    return b.reshape(y, [*b.sizes(x)[:2], gates * units])


def _given(b: Building, x: Any, count: int) -> tuple[Tensor, States]:
    """The sequences and the states before the first step, which may be in a list with them or an argument."""
    given = {k: v for k, v in b.kwargs.items() if v is not None and k not in ("training", "mask")}
    initial = given.pop("initial_state", b.args[0] if b.args else None)
    if isinstance(x, (list, tuple)):
        x, initial = x[0], list(x[1:]) or initial
    if given or not isinstance(x, Tensor):
        raise b.error(f"the arguments {brief(given or x)}", "sequences and initial_state")
    if initial is None:
        return x, [None] * count
    states = list(initial) if isinstance(initial, (list, tuple)) else [initial]
    if len(states) != count or not all(isinstance(s, Tensor) for s in states):
        raise b.error(f"initial_state {brief(initial)}", f"{count} tensors")
    return x, states


def _rnn(b: Building, x: Any, zero_where_masked: bool = False) -> Any:
    b.refuse(stateful=False, time_major=False)
    cell = b.of(b.layer.kids["cell"][0])
    if cell.layer.kind not in _CELLS:
        raise b.error(f"a cell of the class {cell.layer.kind[:80]!r}", f"one of {', '.join(_CELLS)}")
    gates, count, step = _CELLS[cell.layer.kind]
    sequences, states = _given(b, x, count)
    b.shape(sequences, 3)
    if b.shape(sequences)[1] is None:
        return _of_any_length(b, cell, gates, step, sequences, states, zero_where_masked)
    (steps,) = b.fixed(sequences, 1)
    if not 0 < steps <= _MAX_STEPS:
        raise b.error(f"a sequence of {steps} steps", f"1 to {_MAX_STEPS}, as each step is a part of the graph")
    if len(b.graph) + steps * _NODES_OF_A_STEP > MOST_NODES:
        raise b.error(f"{steps} steps after {len(b.graph):,} operations", f"at most {MOST_NODES:,} operations")
    parts = ops.unstack(_inputs(cell, sequences, gates), steps, axis=1)
    order = range(steps - 1, -1, -1) if b.flag("go_backwards") else range(steps)
    mask = b.mask(sequences)
    if mask is None:
        outputs = []
        for at in order:
            made, states = step(cell, parts[at], states)
            outputs.append(made)
    else:
        zero = _zeros(b, sequences, cell.whole("units"))
        marks = [ops.expand_dims(m, 1) for m in ops.unstack(mask, steps, axis=1)]
        states = [zero if s is None else s for s in states]
        outputs, states = _masked(cell, step, [(parts[at], marks[at]) for at in order], states, zero, zero_where_masked)
    if not b.flag("return_sequences"):
        result = outputs[-1] if mask is None or not zero_where_masked else states[0]
    else:
        result = ops.stack(outputs, axis=1)
        if mask is not None:
            b.set_mask(result, mask)
    return [result, *states] if b.flag("return_state") else result


def _of_any_length(
    b: Building, cell: Building, gates: int, step: Step, sequences: Tensor, states: States, zero_where_masked: bool
) -> Any:
    """The same where the number of steps is known when the graph runs."""
    mask, zero = b.mask(sequences), _zeros(b, sequences, cell.whole("units"))
    begin = [zero if s is None else s for s in states]
    parts = _inputs(cell, sequences, gates)
    every, last, after = looped(
        cell, step, parts, mask, begin, zero, b.flag("go_backwards"), mask is not None and zero_where_masked
    )
    if b.flag("return_sequences"):
        result = every
        if mask is not None:
            b.set_mask(result, mask)
    else:
        result = last if mask is None or not zero_where_masked else after[0]
    return [result, *after] if b.flag("return_state") else result


def _masked(
    cell: Building, step: Step, parts: list[tuple[Tensor, Tensor]], states: States, zero: Tensor, zeros: bool
) -> tuple[list[Tensor], States]:
    """Steps that do not count leave the states as they are, and repeat the output before, or give zeros."""
    outputs: list[Tensor] = []
    for part, mark in parts:
        made, after = step(cell, part, states)
        before = zero if zeros or not outputs else outputs[-1]
        outputs.append(ops.where(mark, made, before))
        states = [ops.where(mark, new, old) for new, old in zip(after, states, strict=True)]
    return outputs, states


def _zeros(b: Building, x: Tensor, units: int) -> Tensor:
    batch = b.shape(x)[0]
    return ops.fill(ops.stack([ops.shape(x)[0] if batch is None else batch, units]), np.zeros((), x.dtype))


def _bidirectional(b: Building, x: Any) -> Any:
    """The forward layer and the backward one; the backward outputs are turned to the order of the input."""
    forward, backward = (b.layer.kids[k][0] for k in ("forward_layer", "backward_layer"))
    if b.args or any(v is not None for k, v in b.kwargs.items() if k not in ("training", "mask")):
        raise b.error("a call with initial states", "one input")
    results = [_called(b, layer, x) for layer in (forward, backward)]
    sides = [r[0] if isinstance(r, list) else r for r in results]
    states = [s for r in results if isinstance(r, list) for s in r[1:]]
    sequences = bool(forward.config.get("return_sequences"))
    if sequences:
        sides[1] = ops.reverse(sides[1], [1])
    mode = b.config.get("merge_mode", "concat")
    if mode is None:
        return [*sides, *states]
    if mode not in _MERGED:
        raise b.error(f"merge_mode {brief(mode)}", f"{', '.join(_MERGED)} or null")
    made = _MERGED[mode](sides)
    mask = b.mask(x)
    if mask is not None and sequences:
        b.set_mask(made, mask)
    return [made, *states] if states else made


_MERGED: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "concat": lambda sides: ops.concat(sides, -1),
    "sum": lambda sides: ops.add(sides[0], sides[1]),
    "ave": lambda sides: ops.multiply(ops.add(sides[0], sides[1]), 0.5),
    "mul": lambda sides: ops.multiply(sides[0], sides[1]),
}


def _called(b: Building, layer: Layer, x: Any) -> Any:
    if layer.kind not in ("LSTM", "GRU", "SimpleRNN", "RNN"):
        raise b.error(f"a layer of the class {layer.kind[:80]!r} inside", "LSTM, GRU, SimpleRNN or RNN")
    return _rnn(b.of(layer), x, zero_where_masked=True)


def _time_distributed(b: Building, x: Any) -> Any:
    """Steps as items of the batch."""
    (layer,) = b.layer.kids["layer"]
    if not isinstance(x, Tensor):
        raise b.error(f"the inputs {brief(x)}", "one tensor")
    known = b.shape(x)
    if len(known) < 3:
        raise b.error(f"an input of shape {known}", "three axes or more")
    (steps,) = b.fixed(x, 1)
    tail = b.fixed(x, *range(2, len(known)))
    batch = known[0]
    inner = b.call(layer, b.reshape(x, [None if batch is None else batch * steps, *tail]))
    if not isinstance(inner, Tensor):
        raise b.error("a layer of several outputs inside", "one output")
    return b.reshape(inner, [batch, steps, *b.fixed(inner, *range(1, len(b.shape(inner))))])


RECURRENT: dict[str, Callable[[Building, Any], Any]] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "RNN"), _rnn),
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
}
