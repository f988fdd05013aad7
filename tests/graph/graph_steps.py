"""The steps of which random graphs are made: each adds an op, or a pattern that passes look for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import kigraph as ki
from tests.graph.graph_recipes import Maker


def _need(index: int | None) -> int:
    if index is None:
        raise ValueError("no such tensor")
    return index


def _unary(m: Maker) -> None:
    name = str(
        m.rng.choice(["relu", "relu6", "negative", "abs", "square", "tanh", "sigmoid", "identity", "exp", "softplus"])
    )
    i = _need(m.pick())
    bounded = name == "exp"
    m.add(
        f"{name}({i})",
        m.shapes[i],
        lambda made, dtype: getattr(ki, name)(ki.minimum(made[i], 3.0) if bounded else made[i]),
    )


def _binary(m: Maker) -> None:
    name = str(m.rng.choice(["add", "subtract", "multiply", "maximum", "minimum"]))
    i = _need(m.pick())
    shape = m.shapes[i]
    j = m.pick(lambda other: _broadcast(shape, other) is not None)
    if j is None or m.rng.random() < 0.4:
        kept = shape[int(m.rng.integers(0, len(shape) + 1)) :]
        j = m.constant([1 if m.rng.random() < 0.2 else n for n in kept])
    a, b = (i, j) if m.rng.random() < 0.5 else (j, i)
    joint = _broadcast(m.shapes[a], m.shapes[b])
    assert joint is not None
    m.add(f"{name}({a}, {b})", joint, lambda made, dtype: getattr(ki, name)(made[a], made[b]))


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def _divide(m: Maker) -> None:
    i = _need(m.pick())
    j = m.constant(m.shapes[i][-1:], positive=True)
    m.add(f"divide({i}, {j})", m.shapes[i], lambda made, dtype: ki.divide(made[i], made[j]))


def _matmul(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) == 2))
    rows, inner = m.shapes[i]
    columns = m.size()
    transposed = bool(m.rng.random() < 0.3)
    w = m.constant((columns, inner) if transposed else (inner, columns))
    m.add(
        f"matmul({i}, {w}, {transposed})",
        (rows, columns),
        lambda made, dtype: ki.matmul(made[i], made[w], transpose_b=transposed),
    )


def _image(m: Maker) -> int:
    return _need(m.pick(lambda s: len(s) == 4 and min(s) > 0))


def _window(n: int, k: int, s: int, d: int, padding: str) -> int:
    return -(-n // s) if padding == "SAME" else (n - ((k - 1) * d + 1)) // s + 1


def _conv(m: Maker) -> None:
    i = _image(m)
    n, h, w, c = m.shapes[i]
    kh, kw = (int(k) for k in m.rng.choice([1, 1, 2, 3, 5], 2))
    s, d = [(1, 1), (1, 1), (2, 1), (3, 1), (1, 2)][int(m.rng.integers(5))]
    padding = str(m.rng.choice(["SAME", "VALID"]))
    oh, ow = _window(h, kh, s, d, padding), _window(w, kw, s, d, padding)
    if min(oh, ow) < 1:
        raise ValueError("the window does not fit")
    if d == 1 and m.rng.random() < 0.3:
        mult = int(m.rng.integers(1, 3))
        f = m.constant((kh, kw, c, mult))
        y = m.add(
            f"depthwise({i}, {f}, {s}, {padding})",
            (n, oh, ow, c * mult),
            lambda made, dtype: ki.depthwise_conv2d(made[i], made[f], s, padding),
        )
    else:
        f = m.constant((kh, kw, c, int(m.rng.choice([1, 2, 3, 8, 9, 16]))))
        y = m.add(
            f"conv2d({i}, {f}, {s}, {padding}, {d})", (n, oh, ow, m.shapes[f][3]),
            lambda made, dtype: ki.conv2d(made[i], made[f], s, padding, dilations=d),
        )  # fmt: skip
    _behind_conv(m, y)


def _behind_conv(m: Maker, y: int) -> None:
    """What passes fold into a convolution: bias, batch norm in both forms, activation."""
    c = m.shapes[y][3]
    for _ in range(int(m.rng.integers(0, 4))):
        kind = int(m.rng.integers(4))
        x = y
        if kind == 0:
            b = m.constant((c,))
            y = m.add(f"bias_add({x}, {b})", m.shapes[x], lambda made, dtype, x=x, b=b: ki.bias_add(made[x], made[b]))
        elif kind == 1:
            mean, var, offset, scale = (m.constant((c,), positive=p) for p in (False, True, False, False))
            y = m.add(
                f"batch_normalization({x})", m.shapes[x],
                lambda made, dtype, x=x, q=(mean, var, offset, scale): ki.batch_normalization(made[x], *(made[i] for i in q), 1e-3),
            )  # fmt: skip
        elif kind == 2:
            k = m.constant((c,))
            y = m.add(f"multiply({x}, {k})", m.shapes[x], lambda made, dtype, x=x, k=k: ki.multiply(made[x], made[k]))
        else:
            name = str(m.rng.choice(["relu", "relu6"]))
            y = m.add(f"{name}({x})", m.shapes[x], lambda made, dtype, x=x, name=name: getattr(ki, name)(made[x]))


def _pool(m: Maker) -> None:
    i = _image(m)
    n, h, w, c = m.shapes[i]
    k, s = int(m.rng.integers(1, 4)), int(m.rng.integers(1, 3))
    padding, name = str(m.rng.choice(["SAME", "VALID"])), str(m.rng.choice(["max_pool", "avg_pool"]))
    oh, ow = _window(h, k, s, 1, padding), _window(w, k, s, 1, padding)
    if min(oh, ow) < 1:
        raise ValueError("the window does not fit")
    m.add(
        f"{name}({i}, {k}, {s}, {padding})",
        (n, oh, ow, c),
        lambda made, dtype: getattr(ki, name)(made[i], k, s, padding),
    )


def _siblings(m: Maker) -> None:
    """1x1 convolutions of one tensor, one of them after a pool, and their concat."""
    i = _image(m)
    n, h, w, c = m.shapes[i]
    pooled = m.add(f"avg_pool({i}, 3, 1, SAME)", m.shapes[i], lambda made, dtype: ki.avg_pool(made[i], 3, 1, "SAME"))
    parts = []
    for x in (i, i, pooled):
        f = m.constant((1, 1, c, int(m.rng.integers(1, 9))))
        parts.append(
            m.add(
                f"conv2d({x}, {f})",
                (n, h, w, m.shapes[f][3]),
                lambda made, dtype, x=x, f=f: ki.conv2d(made[x], made[f]),
            )
        )
    m.add(
        f"concat({parts}, 3)",
        (n, h, w, sum(m.shapes[p][3] for p in parts)),
        lambda made, dtype: ki.concat([made[p] for p in parts], 3),
    )


def _concat(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 0))
    axis = int(m.rng.integers(len(m.shapes[i])))
    if m.rng.random() < 0.6:
        axis = len(m.shapes[i]) - 1
    rest = (m.shapes[i][:axis], m.shapes[i][axis + 1 :])
    like = [j for j, s in enumerate(m.shapes) if len(s) == len(m.shapes[i]) and (s[:axis], s[axis + 1 :]) == rest]
    parts = [i, *(int(like[m.rng.integers(len(like))]) for _ in range(int(m.rng.integers(1, 4))))]
    size = sum(m.shapes[p][axis] for p in parts)
    m.add(
        f"concat({parts}, {axis})",
        (*rest[0], size, *rest[1]),
        lambda made, dtype: ki.concat([made[p] for p in parts], axis),
    )


def _split(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 0 and max(s) > 1))
    axis = int(np.argmax(m.shapes[i]))
    n = m.shapes[i][axis]
    first = int(m.rng.integers(0, n + 1))
    part = int(m.rng.integers(2))
    size = (first, n - first)[part]
    m.add(
        f"split({i}, {[first, n - first]}, {axis})[{part}]", (*m.shapes[i][:axis], size, *m.shapes[i][axis + 1 :]),
        lambda made, dtype: ki.split(made[i], [first, n - first], axis)[part],
    )  # fmt: skip


def _slice(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 0))
    shape, keys, result = m.shapes[i], [], []
    for n in shape:
        a, b = sorted(int(v) for v in m.rng.integers(0, n + 1, 2))
        step = int(m.rng.choice([1, 1, 2, -1]))
        keys.append(slice(None, None, -1) if step == -1 else slice(a, b, step))
        result.append(len(range(*keys[-1].indices(n))))
    m.add(f"{i}[{keys}]", result, lambda made, dtype: made[i][tuple(keys)])


def _reshape(m: Maker) -> None:
    i = _need(m.pick())
    shape = m.shapes[i]
    size = int(np.prod(shape))
    choice = int(m.rng.integers(4))
    new = (size,) if choice == 0 else (1, size) if choice == 1 else (*shape, 1) if len(shape) < 4 else (size,)
    if choice == 3 and len(shape) > 1:
        new = (int(np.prod(shape[:-1])), shape[-1])
    m.add(f"reshape({i}, {new})", new, lambda made, dtype: ki.reshape(made[i], list(new)))


def _transpose(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 1))
    perm = [int(p) for p in m.rng.permutation(len(m.shapes[i]))]
    m.add(f"transpose({i}, {perm})", [m.shapes[i][p] for p in perm], lambda made, dtype: ki.transpose(made[i], perm))


def _reduce(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 0 and min(s) > 0))
    name = str(m.rng.choice(["reduce_sum", "reduce_mean", "reduce_max", "reduce_min"]))
    axes = sorted({int(a) for a in m.rng.integers(0, len(m.shapes[i]), 2)})
    keep = bool(m.rng.random() < 0.5)
    shape = [1 if a in axes else n for a, n in enumerate(m.shapes[i]) if keep or a not in axes]
    m.add(f"{name}({i}, {axes}, {keep})", shape, lambda made, dtype: getattr(ki, name)(made[i], axes, keepdims=keep))


def _cast(m: Maker) -> None:
    """Through a wider type and back, or of a comparison: what a cast does to a rounded number is no matter of backends."""
    i = _need(m.pick())
    if m.rng.random() < 0.5:
        m.add(f"cast(cast({i}, float64))", m.shapes[i], lambda made, dtype: ki.cast(ki.cast(made[i], "float64"), dtype))
    else:
        m.add(f"cast({i} > 100)", m.shapes[i], lambda made, dtype: ki.cast(ki.greater(made[i], 1e6), dtype))


def _gather(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 0 and min(s) > 0))
    axis = int(m.rng.integers(len(m.shapes[i])))
    picked = [int(v) for v in m.rng.integers(0, m.shapes[i][axis], int(m.rng.integers(1, 5)))]
    shape = (*m.shapes[i][:axis], len(picked), *m.shapes[i][axis + 1 :])
    m.add(f"gather({i}, {picked}, {axis})", shape, lambda made, dtype: ki.gather(made[i], picked, axis))


def _select(m: Maker) -> None:
    i = _need(m.pick())
    shape = m.shapes[i]
    mask = m.rng.random(shape) < 0.5
    j = m.constant(shape)
    m.add(f"where(mask, {i}, {j})", shape, lambda made, dtype: ki.where(ki.constant(mask), made[i], made[j]))


def _softmax(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 0 and min(s) > 0))
    name = str(m.rng.choice(["softmax", "log_softmax"]))
    m.add(f"{name}({i})", m.shapes[i], lambda made, dtype: getattr(ki, name)(made[i]))


def _pad(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) > 0))
    pairs = [[int(a), int(b)] for a, b in m.rng.integers(0, 3, (len(m.shapes[i]), 2))]
    if len(m.shapes[i]) == 4:
        pairs[0] = pairs[3] = [0, 0]
    shape = [n + a + b for n, (a, b) in zip(m.shapes[i], pairs, strict=True)]
    m.add(f"pad({i}, {pairs})", shape, lambda made, dtype: ki.pad(made[i], pairs))


def _repeat(m: Maker) -> None:
    i = _need(m.pick())
    shape = m.shapes[i]
    if m.rng.random() < 0.5 and shape:
        times = [int(t) for t in m.rng.integers(0, 3, len(shape))]
        m.add(
            f"tile({i}, {times})",
            [n * t for n, t in zip(shape, times, strict=True)],
            lambda made, dtype: ki.tile(made[i], times),
        )
    else:
        wide = (int(m.rng.integers(1, 4)), *shape)
        m.add(f"broadcast_to({i}, {wide})", wide, lambda made, dtype: ki.broadcast_to(made[i], list(wide)))


def _stack(m: Maker) -> None:
    i = _need(m.pick(lambda s: len(s) < 4))
    like = [j for j, s in enumerate(m.shapes) if s == m.shapes[i]]
    parts = [i, *(int(like[m.rng.integers(len(like))]) for _ in range(int(m.rng.integers(0, 3))))]
    axis = int(m.rng.integers(len(m.shapes[i]) + 1))
    shape = (*m.shapes[i][:axis], len(parts), *m.shapes[i][axis:])
    m.add(f"stack({parts}, {axis})", shape, lambda made, dtype: ki.stack([made[p] for p in parts], axis))


def _constants(m: Maker) -> None:
    """A chain on a constant, which folds."""
    i = m.constant([m.size() for _ in range(int(m.rng.integers(0, 3)))])
    for _ in range(int(m.rng.integers(1, 5))):
        x = i
        i = m.add(
            f"add({x}, {x}) * 0.5", m.shapes[x], lambda made, dtype, x=x: ki.multiply(ki.add(made[x], made[x]), 0.75)
        )


def _shape(m: Maker) -> None:
    """A reshape to a shape that is computed."""
    i = _need(m.pick())
    m.add(
        f"reshape({i} * 2, shape({i}))",
        m.shapes[i],
        lambda made, dtype: ki.reshape(ki.multiply(made[i], 2.0), ki.shape(made[i])),
    )


def _normalized(m: Maker) -> None:
    """A normalisation of an image before a convolution without padding."""
    i = _image(m)
    n, h, w, c = m.shapes[i]
    mean, scale, f = m.constant((c,)), m.constant((c,), positive=True), m.constant((min(h, 2), min(w, 2), c, 3))
    m.add(
        f"conv2d(({i} - {mean}) * {scale}, {f})", (n, h - min(h, 2) + 1, w - min(w, 2) + 1, 3),
        lambda made, dtype: ki.conv2d(ki.multiply(ki.subtract(made[i], made[mean]), made[scale]), made[f]),
    )  # fmt: skip


STEPS: list[Callable[[Maker], None]] = [
    _unary, _unary, _binary, _binary, _divide, _matmul, _matmul, _conv, _conv, _pool, _siblings, _concat, _concat, _split, _slice,
    _reshape, _transpose, _reduce, _cast, _gather, _select, _softmax, _pad, _repeat, _stack, _constants, _shape, _normalized,
]  # fmt: skip
