"""Passes that change which layers there are: normalisation into the first convolution, pools after 1x1, merged siblings.

Every tensor that a pass touches is fetched, alone and with the result, and compared with the graph as it was built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.ir import Node
from kigraph.graph.passes import PASSES
from kigraph.graph.plan.stage import Stage
from kigraph.graph.session import Session

NDArray = np.ndarray[Any, Any]
MakeSession = Callable[..., Session]
Feeds = dict[Tensor, NDArray]
NAMES = [name for name, _ in PASSES]


def final_nodes(session: Session, fetch: Any, feeds: Any) -> list[Node]:
    leaves = ("Const", "Placeholder", "VariableV2")
    return [node for node in session.optimized(fetch, list(feeds)) if node.op not in leaves]


def final_ops(session: Session, fetch: Any, feeds: Any) -> list[str]:
    return [node.op for node in final_nodes(session, fetch, feeds)]


def close(found: NDArray, wanted: NDArray, what: str) -> None:
    tolerance = 1e-12 if found.dtype == np.float64 else 2e-6
    scale = max(float(np.abs(wanted).max(initial=0)), 1.0)
    np.testing.assert_allclose(found / scale, wanted / scale, rtol=0, atol=tolerance, err_msg=what)


def same_everywhere(make: MakeSession, result: Tensor, touched: Sequence[Tensor], feeds: Feeds) -> None:
    """The result and every touched tensor, alone, in pairs and all at once, are those of the graph without passes."""
    every = [result, *touched]
    wanted = make(backend="numpy", skip_passes=NAMES).run(every, feeds)
    some = make()
    for tensor, value in zip(every, wanted, strict=True):
        close(some.run(tensor, feeds), value, f"{tensor.name} alone")
        pair = some.run([tensor, result], feeds)
        close(pair[0], value, f"{tensor.name} with the result")
        close(pair[1], wanted[0], f"the result with {tensor.name}")
    for found, value, tensor in zip(some.run(every, feeds), wanted, every, strict=True):
        close(found, value, f"{tensor.name}, all at once")


# --- normalisation of the input ---------------------------------------------------------------------------------------

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

#: What precedes the convolution: (x, constants of an element type) -> tensors, the last one is convolved.
CHAINS: dict[str, Callable[[Tensor, Any], list[Tensor]]] = {
    "inception": lambda x, c: [a := x - c(128), a * c(1 / 128)],
    "scaled then shifted": lambda x, c: [a := x * c(1 / 127.5), a - c(1)],
    "per channel": lambda x, c: [a := x * c(_STD / 0.5), a + c((_MEAN - 0.5) / 0.5)],
    "divided": lambda x, c: [a := x / c(255), b := a - c(_MEAN), b / c(_STD)],
    "constant first": lambda x, c: [a := c(200) - x, b := c([0.5, 0.25, 2]) * a, c(3) + b],
    "rank 4 constants": lambda x, c: [a := x - c(_MEAN.reshape(1, 1, 1, 3)), a * c([2])],
}


def constants(dtype: str) -> Callable[[Any], Tensor]:
    return lambda value: ops.constant(np.asarray(value, dtype))


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalisation_folds_into_the_convolution(
    graph: Graph, session: MakeSession, rng: np.random.Generator, chain: str, dtype: str
) -> None:
    x = ops.placeholder(dtype, [None, 9, 8, 3])
    normal = CHAINS[chain](x, constants(dtype))
    w, (a, b, mean) = rng.standard_normal((3, 3, 3, 5)).astype(dtype), rng.random((3, 5)).astype(dtype)
    product = ops.conv2d(normal[-1], w, strides=2, padding="VALID")
    norm = ops.batch_normalization(product, mean, ops.constant(b + 0.5), a, b, 1e-3)
    result = ops.relu(norm)
    feeds = {x: rng.uniform(0, 255, (2, 9, 8, 3)).astype(dtype)}
    assert final_ops(session(), result, feeds) == ["KiFusedConv2D"]
    assert final_ops(session(), product, feeds) == ["KiFusedConv2D"]
    skipped = session(skip_passes=["fold_input_affine"])
    assert len(final_ops(skipped, result, feeds)) == 1 + len(normal)
    same_everywhere(session, result, [*normal, product, norm], feeds)


def test_what_is_read_elsewhere_is_kept(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [1, 6, 6, 3])
    shifted = x - 3.0
    scaled = shifted * 0.5
    y = ops.conv2d(scaled, rng.standard_normal((2, 2, 3, 4)).astype(np.float32), padding="VALID")
    feeds = {x: rng.random((1, 6, 6, 3), np.float32)}
    # The shifted image is wanted: only the factor folds.
    assert sorted(final_ops(session(), [y, shifted], feeds)) == ["KiFusedConv2D", "Sub"]
    both = ops.reduce_sum(y) + ops.reduce_sum(scaled)
    assert "Mul" in final_ops(session(), both, feeds)
    same_everywhere(session, both, [shifted, scaled, y], feeds)


@pytest.mark.parametrize(
    "kind", ["padding", "padded explicitly", "far", "steep", "zero", "over zero", "a quotient", "widened", "a variable"]
)
def test_normalisations_that_stay(graph: Graph, session: MakeSession, rng: np.random.Generator, kind: str) -> None:
    """Padding is zero after the normalisation, sums of far larger numbers cancel, factors may leave float32's range."""
    x = ops.placeholder("float32", [1, 6, 6, 1 if kind == "widened" else 3])
    w = rng.standard_normal((3, 3, 3, 4)).astype(np.float32)
    weights = ops.variable(w) if kind == "a variable" else ops.constant(w)
    made = {
        "padding": lambda: x - 0.5,
        "padded explicitly": lambda: ops.pad(x - 0.5, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        "far": lambda: x - 1000.0,
        "steep": lambda: x * 1e9,
        "zero": lambda: x * np.array([1, 0, 1], np.float32) + 1.0,
        "over zero": lambda: x / np.array([1, 0, 1], np.float32),
        "a quotient": lambda: ops.divide(ops.constant(np.float32(1)), x + 2.0) + 1.0,
        "widened": lambda: x - np.array([1, 2, 3], np.float32),
        "a variable": lambda: x - 0.5,
    }[kind]()
    y = ops.conv2d(made, weights, padding="SAME" if kind == "padding" else "VALID")
    feeds = {x: rng.random((1, 6, 6, x.shape[3] or 0), np.float32)}  # type: ignore[index]
    assert len(final_ops(session(), y, feeds)) > 1
    found, wanted = session().run(y, feeds), session(backend="numpy", skip_passes=NAMES).run(y, feeds)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_pointwise_convolution_never_pads(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [2, 5, 4, 3])
    normal = (x - 0.5) * 2.0
    y = ops.conv2d(normal, rng.standard_normal((1, 1, 3, 4)).astype(np.float32), strides=2, padding="SAME")
    feeds = {x: rng.random((2, 5, 4, 3), np.float32)}
    assert final_ops(session(), y, feeds) == ["KiFusedConv2D"]
    same_everywhere(session, y, [normal], feeds)


def test_weights_are_rounded_once(graph: Graph, rng: np.random.Generator) -> None:
    """Factors of input and output channels are multiplied in float64."""
    x = ops.placeholder("float32", [1, 4, 4, 3])
    w = rng.standard_normal((2, 2, 3, 5)).astype(np.float32)
    scale, shift, after = (rng.uniform(0.3, 0.9, n).astype(np.float32) for n in (3, 3, 5))
    y = ops.conv2d(x * scale + shift, w, padding="VALID") * after
    (node,) = final_nodes(Session(graph, backend="numpy"), y, {x: None})
    found = {p: n for n in Session(graph, backend="numpy").optimized(y, [x]) for p in n.ports}
    weights, bias = (found[p].attrs["value"].array() for p in node.inputs[1:])
    wide = w.astype(np.float64) * after
    np.testing.assert_array_equal(weights, (wide * scale.astype(np.float64)[:, None]).astype(np.float32))
    np.testing.assert_allclose(bias, (wide * shift.astype(np.float64)[:, None]).sum((0, 1, 2)), rtol=1e-7)


# --- average pools after 1x1 convolutions -----------------------------------------------------------------------------


def pool_branch(x: Tensor, w: NDArray, *, padding: str = "SAME", count: bool = False, **steps: Any) -> list[Tensor]:
    """Pool, product, and as ``steps`` say bias and activation; the last one is the result."""
    attrs = {"ksize": (1, 3, 3, 1), "strides": (1, 1, 1, 1), "padding": padding, "count_include_pad": count}
    made = [x.graph.create_op("AvgPool", [x], attrs, "pool").outputs[0]]
    made.append(ops.conv2d(made[-1], w, padding="SAME"))
    if steps.get("bias") is not None:
        made.append(ops.bias_add(made[-1], steps["bias"]))
    if steps.get("activation"):
        made.append({"relu": ops.relu, "relu6": ops.relu6}[steps["activation"]](made[-1]))
    return made


@pytest.mark.parametrize("count", [False, True])
@pytest.mark.parametrize("activation", ["", "relu", "relu6"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pool_moves_behind_the_convolution(
    graph: Graph, session: MakeSession, rng: np.random.Generator, count: bool, activation: str, biased: bool, dtype: str
) -> None:
    x = ops.placeholder(dtype, [None, 6, 5, 7])
    w = rng.standard_normal((1, 1, 7, 4)).astype(dtype)
    bias = ops.constant(rng.standard_normal(4).astype(dtype)) if biased else None
    made = pool_branch(x, w, count=count, bias=bias, activation=activation)
    feeds = {x: (4 * rng.standard_normal((2, 6, 5, 7))).astype(dtype)}
    nodes = final_nodes(session(), made[-1], feeds)
    assert [n.op for n in nodes] == ["Conv2D", "KiFusedAvgPool"]
    assert nodes[0].outputs[0].shape is not None
    assert nodes[0].outputs[0].shape[3] == 4
    same_everywhere(session, made[-1], made[:-1], feeds)


def test_a_bias_that_is_no_constant_moves_too(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    x, bias = ops.placeholder("float32", [1, 4, 4, 3]), ops.placeholder("float32", [2])
    weights = ops.variable(rng.standard_normal((1, 1, 3, 2)).astype(np.float32))
    pooled = ops.avg_pool(x, 2, 1, "SAME")
    y = ops.relu(ops.bias_add(ops.conv2d(pooled, weights), bias))
    feeds = {x: rng.random((1, 4, 4, 3), np.float32), bias: np.array([1, -1], np.float32)}
    assert final_ops(session(), y, feeds) == ["Conv2D", "KiFusedAvgPool"]
    same_everywhere(session, y, [pooled], feeds)


def test_pools_that_stay(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [1, 8, 8, 6])
    feeds = {x: rng.random((1, 8, 8, 6), np.float32)}

    def weights(cin: int, cout: int, size: int = 1) -> NDArray:
        return rng.standard_normal((size, size, cin, cout)).astype(np.float32)

    pooled = ops.avg_pool(x, 3, 1, "SAME")
    cases: dict[str, Tensor] = {
        "more channels": ops.conv2d(pooled, weights(6, 7)),
        "3x3": ops.conv2d(ops.avg_pool(x, 3, 1, "SAME"), weights(6, 2, 3), padding="SAME"),
        "stride of the convolution": ops.conv2d(ops.avg_pool(x, 3, 1, "SAME"), weights(6, 2), strides=2),
        "stride of the pool": ops.conv2d(ops.avg_pool(x, 3, 2, "SAME"), weights(6, 2)),
        "the whole image": ops.conv2d(ops.avg_pool(x, 8, 1, "VALID"), weights(6, 2)),
        "maximum": ops.conv2d(ops.max_pool(x, 3, 1, "SAME"), weights(6, 2)),
    }
    for name, y in cases.items():
        assert "KiFusedAvgPool" not in final_ops(session(), y, feeds), name
        same_everywhere(session, y, [y.op.inputs[0]], feeds)
    shared = ops.avg_pool(x, 3, 1, "SAME")
    both = ops.conv2d(shared, weights(6, 2)) + ops.conv2d(shared, weights(6, 2))
    assert "KiFusedAvgPool" not in final_ops(session(), both, feeds)
    same_everywhere(session, both, [shared], feeds)
    wanted = ops.avg_pool(x, 3, 1, "SAME")
    y = ops.conv2d(wanted, weights(6, 2))
    assert "KiFusedAvgPool" in final_ops(session(), y, feeds)
    assert "KiFusedAvgPool" not in final_ops(session(), [y, wanted], feeds)


@pytest.mark.parametrize(("cin", "cout", "moves"), [(40, 1, True), (40, 30, False)])
def test_a_pool_that_shrinks_the_image_moves_where_it_pays(
    graph: Graph, session: MakeSession, rng: np.random.Generator, cin: int, cout: int, moves: bool
) -> None:
    x = ops.placeholder("float32", [1, 9, 9, cin])
    made = pool_branch(x, rng.standard_normal((1, 1, cin, cout)).astype(np.float32), padding="VALID")
    feeds = {x: rng.random((1, 9, 9, cin), np.float32)}
    assert ("KiFusedAvgPool" in final_ops(session(), made[-1], feeds)) is moves
    same_everywhere(session, made[-1], made[:-1], feeds)


# --- siblings ---------------------------------------------------------------------------------------------------------


def siblings(x: Tensor, rng: np.random.Generator, widths: Sequence[int], dtype: str) -> list[Tensor]:
    """1x1 convolutions of x with and without bias and activation."""
    assert x.shape is not None
    made = []
    for i, width in enumerate(widths):
        w = rng.standard_normal((1, 1, x.shape[3] or 0, width)).astype(dtype)
        y = ops.conv2d(x, w, padding=["SAME", "VALID"][i % 2])
        if i % 3:
            y = ops.bias_add(y, rng.standard_normal(width).astype(dtype))
        made.append([ops.identity, ops.relu, ops.relu6][i % 3](y))
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", [(4, 4), (1, 17, 33, 5), (3,) * 19], ids=str)
def test_siblings_become_one_op(
    graph: Graph, session: MakeSession, rng: np.random.Generator, dtype: str, widths: tuple[int, ...]
) -> None:
    x = ops.placeholder(dtype, [None, 5, 4, 9])
    made = siblings(x, rng, widths, dtype)
    result = ops.concat([*made, x], 3)
    feeds = {x: (3 * rng.standard_normal((2, 5, 4, 9))).astype(dtype)}
    assert final_ops(session(), result, feeds) == ["KiSiblingConv2D", "ConcatV2"]
    same_everywhere(session, result, made[:5], feeds)
    apart = session(skip_passes=["merge_siblings"])
    assert final_ops(apart, result, feeds).count("KiFusedConv2D") >= len(widths) * 2 // 3
    for threads in (1, 2):
        merged = session(threads=threads).run(made, feeds)
        for one, other in zip(merged, apart.run(made, feeds), strict=True):
            assert one.tobytes() == other.tobytes(), "the order of each sum is the same"


def test_siblings_give_an_image_the_same_bits_in_any_batch(
    graph: Graph, session: MakeSession, rng: np.random.Generator
) -> None:
    x = ops.placeholder("float32", [None, 11, 7, 33])
    made = siblings(x, rng, (20, 48, 7), "float32")
    images = rng.standard_normal((5, 11, 7, 33)).astype(np.float32)
    whole = session(threads=2).run(made, {x: images})
    for i in range(5):
        alone = session(threads=1).run(made, {x: images[i : i + 1]})
        assert [a.tobytes() for a in alone] == [w[i : i + 1].tobytes() for w in whole]


def test_weights_that_depend_on_a_sibling(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    """Merging these would make a cycle."""
    x = ops.placeholder("float32", [1, 1, 1, 4])
    first = ops.conv2d(x, rng.standard_normal((1, 1, 4, 8)).astype(np.float32))
    second = ops.conv2d(x, ops.reshape(first, [1, 1, 4, 2]))
    third = ops.conv2d(x, ops.variable(rng.standard_normal((1, 1, 4, 3)).astype(np.float32)))
    result = ops.concat([first, second, third], 3)
    feeds = {x: rng.random((1, 1, 1, 4), np.float32)}
    found = final_ops(session(), result, feeds)
    assert (found.count("KiSiblingConv2D"), found.count("Conv2D")) == (1, 1)
    same_everywhere(session, result, [first, second, third], feeds)


def test_convolutions_that_do_not_merge(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [1, 6, 6, 4])
    point, wide = rng.random((1, 1, 4, 4), np.float32), rng.random((3, 3, 4, 4), np.float32)
    made = [ops.conv2d(x, point), ops.conv2d(x, wide, padding="SAME"), ops.conv2d(ops.relu(x), point)]
    strided = ops.conv2d(x, point, strides=2)
    feeds = {x: rng.random((1, 6, 6, 4), np.float32)}
    assert "KiSiblingConv2D" not in final_ops(session(), [*made, strided], feeds)


def steps_of(session: Session, fetch: Any, feeds: Feeds) -> list[Any]:
    session.run(fetch, feeds)
    stages = [s for _, s in session.plan(fetch, feeds).compiled() if isinstance(s, Stage)]
    return [step for stage in stages for step in stage.lowering.steps]


def test_every_output_of_siblings_goes_to_its_own_slice(
    graph: Graph, session: MakeSession, rng: np.random.Generator
) -> None:
    """Two outputs in one concat, one in another, one read by a layer: nothing is copied."""
    x = ops.placeholder("float32", [2, 5, 4, 9])
    a, b, c, d = siblings(x, rng, (16, 7, 5, 8), "float32")
    inner = ops.concat([c, ops.max_pool(x, 3, 1, "SAME")], 3)
    deep = ops.conv2d(d, rng.standard_normal((3, 3, 8, 6)).astype(np.float32), padding="SAME")
    pooled = pool_branch(x, rng.standard_normal((1, 1, 9, 3)).astype(np.float32))
    outer = ops.concat([a, deep, b, pooled[-1]], 3)
    result = ops.conv2d(outer, rng.standard_normal((1, 1, 32, 14)).astype(np.float32)) + inner
    feeds = {x: rng.standard_normal((2, 5, 4, 9)).astype(np.float32)}
    steps = steps_of(session(), result, feeds)
    joins = [s for s in steps if s.op == "ConcatV2"]
    assert len(joins) == 2
    assert all(s.kernel is None and s.note.startswith("free") for s in joins)
    assert sum(s.op == "KiSiblingConv2D" for s in steps) == 1
    same_everywhere(session, result, [a, b, c, d, inner, outer, deep, *pooled], feeds)
    wanted = session(skip_passes=NAMES).run([inner, result, d], feeds)
    for found, value in zip(session().run([inner, result, d], feeds), wanted, strict=True):
        close(found, value, "fetched with the inner concat")
