"""Recurrent layers: RNN, GRU, LSTM, as a loop over the steps; what depends on the input only is computed for all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ....kernels.tensor import TensorType
from ...builder import Tensor
from .activations import hard_sigmoid
from .control import collected, empty_list, item
from .inner import Inner, fixed, loop
from .node import Converter, Node, Outputs
from .shapes import scalar

__all__ = ["CONVERTERS"]

Apply = Callable[[Node, Tensor], Tensor]
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_DEFAULT = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
#: Activations with parameters: the defaults of alpha and beta; None: the activation has no such parameter.
_PARAMETERS: Mapping[str, tuple[float | None, float | None]] = {
    "LeakyRelu": (0.01, None), "ThresholdedRelu": (1.0, None), "Elu": (1.0, None), "HardSigmoid": (0.2, 0.5),
    "Affine": (1.0, 0.0), "ScaledTanh": (1.0, 1.0),
}  # fmt: skip
_PLAIN = {name.lower(): name for name in ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus")}


@dataclass(frozen=True, slots=True)
class _Cell:
    """One direction of a layer: weights (gates * hidden, ...), biases, activations, and what changes its formula."""

    kind: str
    hidden: int
    recurrent: Tensor
    functions: tuple[Apply, ...]
    clip: float
    #: GRU: bias of the recurrent part of the new value; LSTM: peepholes of input, output and forget gate.
    bias: Tensor | None = None
    peepholes: tuple[Tensor, ...] = ()
    linear: bool = False
    coupled: bool = False


def _functions(n: Node, directions: int) -> list[tuple[Apply, ...]]:
    """The activations of every direction; parameters are taken in order by those that have them."""
    default = _DEFAULT[n.type]
    names = n.texts("activations") or default * directions
    if len(names) != len(default) * directions:
        raise n.wrong(f"activations {list(names)[:8]}", f"{len(default)} for each direction")
    alphas, betas = iter(n.floats("activation_alpha") or ()), iter(n.floats("activation_beta") or ())
    every = [_function(n, name, alphas, betas) for name in names]
    count = len(default)
    return [tuple(every[i * count : (i + 1) * count]) for i in range(directions)]


def _function(n: Node, name: str, alphas: Iterator[float], betas: Iterator[float]) -> Apply:
    plain = _PLAIN.get(name.lower())
    if plain is not None:
        return lambda m, x: m.op(plain, x)
    known = next((k for k in _PARAMETERS if k.lower() == name.lower()), None)
    if known is None:
        raise n.wrong(f"activation {name[:40]!r}", ", ".join([*_PLAIN.values(), *_PARAMETERS]))
    first, second = _PARAMETERS[known]
    a = 0.0 if first is None else float(next(alphas, first))
    b = 0.0 if second is None else float(next(betas, second))

    def apply(m: Node, x: Tensor) -> Tensor:
        zero = m.like(x, 0)
        if known == "HardSigmoid":
            return hard_sigmoid(m, x, a, b)
        if known == "Affine":
            return m.op("AddV2", m.op("Mul", x, m.like(x, a)), m.like(x, b))
        if known == "ScaledTanh":
            return m.op("Mul", m.op("Tanh", m.op("Mul", x, m.like(x, b))), m.like(x, a))
        if known == "ThresholdedRelu":
            return m.op("SelectV2", m.op("Greater", x, m.like(x, a)), x, zero)
        below = m.op("Mul", x if known == "LeakyRelu" else m.op("Elu", m.op("Minimum", x, zero)), m.like(x, a))
        return m.op("SelectV2", m.op("Less", x, zero), below, x)

    return apply


# --- one step --------------------------------------------------------------------------------------------------------------


def _clipped(m: Node, x: Tensor, cell: _Cell) -> Tensor:
    if not cell.clip:
        return x
    return m.op("Maximum", m.op("Minimum", x, m.like(x, cell.clip)), m.like(x, -cell.clip))


def _parts(m: Node, x: Tensor, count: int) -> tuple[Tensor, ...]:
    return m.ops("Split", [m.const(1, "int32"), x], count, num_split=count)


def _product(m: Node, h: Tensor, weights: Tensor) -> Tensor:
    return m.op("MatMul", h, weights, transpose_b=True)


def _rnn_step(m: Node, x: Tensor, states: Sequence[Tensor], cell: _Cell) -> list[Tensor]:
    return [cell.functions[0](m, _clipped(m, m.op("AddV2", x, _product(m, states[0], cell.recurrent)), cell))]


def _gru_step(m: Node, x: Tensor, states: Sequence[Tensor], cell: _Cell) -> list[Tensor]:
    """Update, reset, new. ``linear``: the reset gate works on the product, bias included, else on the state before it."""
    (h,), hidden = states, cell.hidden
    xz, xr, xn = _parts(m, x, 3)
    gates = m.op("Slice", cell.recurrent, m.const([0, 0]), m.const([2 * hidden, hidden]))
    last = m.op("Slice", cell.recurrent, m.const([2 * hidden, 0]), m.const([hidden, hidden]))
    hz, hr = _parts(m, _product(m, h, gates), 2)
    z = cell.functions[0](m, _clipped(m, m.op("AddV2", xz, hz), cell))
    r = cell.functions[0](m, _clipped(m, m.op("AddV2", xr, hr), cell))
    product = _product(m, h if cell.linear else m.op("Mul", r, h), last)
    if cell.bias is not None:
        product = m.op("AddV2", product, cell.bias)
    new = m.op("AddV2", xn, m.op("Mul", r, product) if cell.linear else product)
    new = cell.functions[1](m, _clipped(m, new, cell))
    return [m.op("AddV2", m.op("Mul", m.op("Sub", m.like(z, 1), z), new), m.op("Mul", z, h))]


def _lstm_step(m: Node, x: Tensor, states: Sequence[Tensor], cell: _Cell) -> list[Tensor]:
    """Input, output, forget, new."""
    h, c = states
    i, o, f, new = _parts(m, m.op("AddV2", x, _product(m, h, cell.recurrent)), 4)

    def gate(x: Tensor, number: int, state: Tensor) -> Tensor:
        if cell.peepholes:
            x = m.op("AddV2", x, m.op("Mul", cell.peepholes[number], state))
        return cell.functions[0](m, _clipped(m, x, cell))

    i = gate(i, 0, c)
    f = m.op("Sub", m.like(i, 1), i) if cell.coupled else gate(f, 2, c)
    new = cell.functions[1](m, _clipped(m, new, cell))
    after = m.op("AddV2", m.op("Mul", f, c), m.op("Mul", i, new))
    return [m.op("Mul", gate(o, 1, after), cell.functions[2](m, after)), after]


_STEPS = {"RNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}


# --- the loop --------------------------------------------------------------------------------------------------------------


def _at(n: Node, x: Tensor | None, direction: int) -> Tensor | None:
    """One direction's entry of an input."""
    return None if x is None else item(n, x, n.const(direction))


def _steps(
    n: Node, xs: Tensor, start: Sequence[Tensor], cell: _Cell, lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """What all steps give, and the state after the last one of each sequence. ``xs``: (steps, batch, gates * hidden)."""
    steps, batch, _ = n.shape(xs)
    out = TensorType(n.dtype(xs), (batch, cell.hidden))
    count = scalar(n, n.size(xs, 0))

    def goes_on(inner: Inner, state: Sequence[Tensor], stays: Sequence[Tensor]) -> list[Tensor]:
        return [inner.node.op("Less", state[0], stays[0])]

    def step(inner: Inner, state: Sequence[Tensor], stays: Sequence[Tensor]) -> list[Tensor]:
        m = inner.node
        number, values, before = state[0], state[1], state[2:]
        held = _Cell(
            cell.kind, cell.hidden, inner.capture(cell.recurrent), cell.functions, cell.clip,
            None if cell.bias is None else inner.capture(cell.bias), tuple(map(inner.capture, cell.peepholes)),
            cell.linear, cell.coupled,
        )  # fmt: skip
        after = _STEPS[cell.kind](m, item(m, stays[1], number), before, held)
        y = after[0]
        if lengths is not None:
            runs = m.op("Less", number, m.op("ExpandDims", stays[2], m.const(1)))
            y = m.op("SelectV2", runs, y, m.like(y, 0))
            after = [m.op("SelectV2", runs, a, b) for a, b in zip(after, before, strict=True)]
        after = [fixed(m, a, b.type) for a, b in zip(after, before, strict=True)]
        values = m.op("TensorListPushBack", values, y, element_dtype=out.dtype)
        return [m.op("AddV2", number, m.const(1)), values, *after]

    steady = [count, xs, *([] if lengths is None else [lengths])]
    found = loop(n, [n.const(0), empty_list(n, out), *start], steady, goes_on, step)
    ys = fixed(n, collected(n, found[1], out), TensorType(out.dtype, (steps, batch, cell.hidden)))
    return ys, found[2:]


def _turned(n: Node, x: Tensor, lengths: Tensor | None) -> Tensor:
    """The steps in the other order, those of each sequence by themselves."""
    if lengths is None:
        return n.op("ReverseV2", x, n.const([0]))
    return n.op("ReverseSequence", x, lengths, seq_dim=0, batch_dim=1)


def _directions(n: Node) -> tuple[bool, ...]:
    """For every direction whether it begins with the last step."""
    found = n.text("direction", "forward")
    table = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    if found not in table:
        raise n.wrong(f"direction {found[:40]!r}", ", ".join(table))
    return table[found]


def _recurrent(n: Node) -> Outputs:
    x, w, r = n.input(0), n.input(1), n.input(2)
    backward, gates = _directions(n), _GATES[n.type]
    layout, hidden = n.integer("layout", 0), n.shape(r)[-1]
    if len(n.shape(x)) != 3 or layout not in (0, 1) or n.shape(w)[0] not in (None, len(backward)):
        raise n.wrong(
            f"{n.type_of(x)}, weights {n.type_of(w)}, layout {layout}", "(steps, batch, values), layout 0 or 1"
        )
    if hidden is None or n.shape(r)[1:] != (gates * hidden, hidden) or n.integer("hidden_size", hidden) != hidden:
        raise n.wrong(f"recurrent weights {n.type_of(r)}", "(directions, gates * hidden, hidden)")
    x = n.transpose(x, (1, 0, 2)) if layout else x
    lengths = None if n.optional(4) is None else n.cast(n.input(4), "int64")
    functions = _functions(n, len(backward))
    ys, last = [], []
    for number, back in enumerate(backward):
        xs, cell = _cell(n, x, number, hidden, functions[number])
        start = [_start(n, x, index, number, hidden, layout) for index in ((5, 6) if n.type == "LSTM" else (5,))]
        xs = _turned(n, xs, lengths) if back else xs
        y, states = _steps(n, xs, start, cell, lengths)
        ys.append(_turned(n, y, lengths) if back else y)
        last.append(states)
    joined = n.op("Pack", *ys, axis=2 if layout else 1)
    if layout:  # (batch, steps, directions, hidden)
        joined = n.transpose(joined, (1, 0, 2, 3))
    return joined, *(n.op("Pack", *states, axis=1 if layout else 0) for states in zip(*last, strict=True))


def _start(n: Node, x: Tensor, index: int, direction: int, hidden: int, layout: int) -> Tensor:
    given = n.optional(index)
    if given is None:
        return n.op("Fill", n.vector([n.size(x, 1), hidden]), n.like(x, 0))
    return n.op("GatherV2", given, n.const(direction), n.const(1 if layout else 0))


def _cell(n: Node, x: Tensor, number: int, hidden: int, functions: tuple[Apply, ...]) -> tuple[Tensor, _Cell]:
    """The share of the input in the gates of all steps, and the rest of the formula."""
    gates, linear = _GATES[n.type], n.type == "GRU" and bool(n.integer("linear_before_reset", 0))
    w, r = (item(n, n.input(i), n.const(number)) for i in (1, 2))
    steps = n.op("Reshape", x, n.vector([-1, n.size(x, 2)]))
    xs = n.op("MatMul", steps, w, transpose_b=True)
    bias, kept = _at(n, n.optional(3), number), None
    if bias is not None:
        of_input, of_state = n.ops("Split", [n.const(0, "int32"), bias], 2, num_split=2)
        if linear:
            kept = n.op("Slice", of_state, n.const([2 * hidden]), n.const([hidden]))
            zeros = n.op("Fill", n.const([hidden]), n.like(x, 0))
            gates_only = n.op("Slice", of_state, n.const([0]), n.const([2 * hidden]))
            of_state = n.op("ConcatV2", gates_only, zeros, n.const(0))
        xs = n.op("BiasAdd", xs, n.op("AddV2", of_input, of_state))
    peepholes = _at(n, n.optional(7), number) if n.type == "LSTM" else None
    cell = _Cell(
        n.type, hidden, r, functions, n.number("clip", 0.0), kept,
        () if peepholes is None else n.ops("Split", [n.const(0, "int32"), peepholes], 3, num_split=3), linear,
        n.type == "LSTM" and bool(n.integer("input_forget", 0)),
    )  # fmt: skip
    return n.op("Reshape", xs, n.vector([n.size(x, 0), n.size(x, 1), gates * hidden])), cell


CONVERTERS: Mapping[str, Converter] = dict.fromkeys(_GATES, _recurrent)
