"""ATen's recurrent layers, step by step; the order of gates is PyTorch's: LSTM input, forget, cell, output; GRU reset, update, new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from ... import ops
from ...builder import Tensor
from .call import Call, Converter

__all__ = ["CONVERTERS"]

#: Steps of all layers and directions; each is about 15 nodes.
_MOST_STEPS = 4096
#: (the inputs' share of the gates, the state, its weights and bias) -> the next state; its first tensor is the output.
Step: TypeAlias = "Callable[[Tensor, list[Tensor], Tensor, Tensor | None], list[Tensor]]"


def _product(h: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
    y = ops.matmul(h, w, transpose_b=True)
    return y if bias is None else ops.add(y, bias)


def _lstm_step(x: Tensor, state: list[Tensor], w: Tensor, bias: Tensor | None) -> list[Tensor]:
    i, f, g, o = ops.split(ops.add(x, _product(state[0], w, bias)), 4, 1)
    cell = ops.add(ops.multiply(ops.sigmoid(f), state[1]), ops.multiply(ops.sigmoid(i), ops.tanh(g)))
    return [ops.multiply(ops.sigmoid(o), ops.tanh(cell)), cell]


def _gru_step(x: Tensor, state: list[Tensor], w: Tensor, bias: Tensor | None) -> list[Tensor]:
    (r, z, n), (hr, hz, hn) = ops.split(x, 3, 1), ops.split(_product(state[0], w, bias), 3, 1)
    update = ops.sigmoid(ops.add(z, hz))
    new = ops.tanh(ops.add(n, ops.multiply(ops.sigmoid(ops.add(r, hr)), hn)))
    return [ops.add(new, ops.multiply(update, ops.subtract(state[0], new)))]


def _plain_step(activation: Callable[[Tensor], Tensor]) -> Step:
    def step(x: Tensor, state: list[Tensor], w: Tensor, bias: Tensor | None) -> list[Tensor]:
        return [activation(ops.add(x, _product(state[0], w, bias)))]

    return step


def _recurrent(step: Step, states: int) -> Converter:
    """``states``: how many tensors a state has."""

    def convert(c: Call) -> list[Tensor]:
        x, params = c.tensor("input"), c.tensors("params")
        first = c.tensors("hx") if states > 1 else [c.tensor("hx")]
        layers, directions = c.integer("num_layers"), 2 if c.flag("bidirectional") else 1
        each = 4 if c.flag("has_biases") else 2
        if len(params) == layers * directions * (each + 1):
            raise c.unsupported("a recurrent layer with projections")
        if len(params) != layers * directions * each or len(first) != states:
            raise c.wrong(f"{len(params)} weights and {len(first)} states for {layers} layers")
        _check(c, x, params[::each], first, layers * directions)
        if c.flag("batch_first"):
            x = ops.transpose(x, [1, 0, 2])
        length = _length(c, x, layers * directions)
        begin = [ops.unstack(h) for h in first]
        ends: list[list[Tensor]] = []
        for layer in range(layers):
            outputs = []
            for direction in range(directions):
                at = layer * directions + direction
                weights = params[at * each : (at + 1) * each]
                found, end = _run(step, x, [h[at] for h in begin], weights, length, bool(direction))
                outputs.append(found)
                ends.append(end)
            x = outputs[0] if directions == 1 else ops.concat(outputs, 2)
        y = ops.transpose(x, [1, 0, 2]) if c.flag("batch_first") else x
        return [y, *(ops.stack([end[i] for end in ends]) for i in range(states))]

    return convert


def _check(c: Call, x: Tensor, weights: Sequence[Tensor], first: Sequence[Tensor], count: int) -> None:
    if c.has("data") or c.flag("train") or c.rank(x) != 3:
        raise c.unsupported("packed sequences, training mode, or a sequence without a batch")
    if count < 1 or any(c.rank(w) != 2 for w in weights) or any(c.rank(h) != 3 for h in first):
        raise c.wrong("weights or states of another rank, or no layers")
    if any(c.dims(h)[0] != count for h in first):
        raise c.wrong(f"states {c.dims(first[0])} for {count} layers and directions")


def _length(c: Call, x: Tensor, count: int) -> int:
    found = c.dims(x)[0]
    if not found or found * count > _MOST_STEPS:
        raise c.unsupported(f"a sequence of {'unknown length' if found is None else f'{found} steps'}")
    return found


def _run(
    step: Step, x: Tensor, state: list[Tensor], weights: Sequence[Tensor], length: int, backward: bool
) -> tuple[Tensor, list[Tensor]]:
    """The outputs in the order of the sequence, and the last state."""
    w, u = weights[:2]
    b, v = weights[2:] or (None, None)
    rows = ops.reshape(x, ops.stack([-1, ops.shape(x)[2]]))
    gates = ops.reshape(_product(rows, w, b), ops.concat([ops.shape(x)[:2], ops.shape(w)[:1]], 0))
    steps = ops.unstack(gates, length)
    found: list[Tensor] = []
    for share in reversed(steps) if backward else steps:
        state = step(share, state, u, v)
        found.append(state[0])
    return ops.stack(found[::-1] if backward else found), state


def _cell(step: Step, states: int) -> Converter:
    """One step of a layer: the next state."""

    def convert(c: Call) -> Any:
        x, first = c.tensor("input"), c.tensors("hx") if states > 1 else [c.tensor("hx")]
        if len(first) != states or c.rank(x) != 2:
            raise c.unsupported("a cell without a batch")
        share = _product(x, c.tensor("w_ih"), c.tensor("b_ih") if c.has("b_ih") else None)
        found = step(share, first, c.tensor("w_hh"), c.tensor("b_hh") if c.has("b_hh") else None)
        return found if states > 1 else found[0]

    return convert


CONVERTERS: dict[str, Converter] = {
    "lstm": _recurrent(_lstm_step, 2),
    "gru": _recurrent(_gru_step, 1),
    "lstm_cell": _cell(_lstm_step, 2),
    "gru_cell": _cell(_gru_step, 1),
    "rnn_tanh_cell": _cell(_plain_step(ops.tanh), 1),
    "rnn_relu_cell": _cell(_plain_step(ops.relu), 1),
    "rnn_tanh": _recurrent(_plain_step(ops.tanh), 1),
    "rnn_relu": _recurrent(_plain_step(ops.relu), 1),
}
