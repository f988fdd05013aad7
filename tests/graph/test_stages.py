"""Programs of several stages: decoded images, shapes that are computed or fed; what is compiled when; explain, profile."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kigraph.graph import ops
from kigraph.graph.builder import Graph, Tensor
from kigraph.graph.packed.store import ConstantStore
from kigraph.graph.passes import PASSES
from kigraph.graph.plan import plan as program_module
from kigraph.graph.plan.lru import LRU
from kigraph.graph.session import Session
from kigraph.kernels.backends import get_backend
from kigraph.kernels.errors import KigraphError, ShapeError

NDArray = np.ndarray[Any, Any]
MakeSession = Callable[..., Session]


def png(height: int, width: int, seed: int = 0) -> tuple[bytes, NDArray]:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue(), pixels


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ops of every stage that is compiled, as 'Conv2D BiasAdd ...', in order."""
    found: list[str] = []
    compile_part = program_module.compile_part

    def record(graph: Any, part: Any, *args: Any) -> Any:
        found.append(" ".join(node.op for node in part.nodes))
        return compile_part(graph, part, *args)

    monkeypatch.setattr(program_module, "compile_part", record)
    return found


def image_network(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Callable[[NDArray], NDArray]]:
    """contents -> decode -> resize -> normalise -> conv -> mean; also what NumPy makes of the resized image."""
    contents = ops.placeholder("string", [], name="contents")
    pixels = ops.decode_image(contents, channels=3, expand_animations=False, name="pixels")
    resized = ops.resize_bilinear(ops.expand_dims(ops.cast(pixels, "float32"), 0), [6, 8], name="resized")
    w = rng.random((1, 1, 3, 4), np.float32) - 0.5
    y = ops.relu(ops.conv2d((resized - 128.0) * (1 / 128.0), w), name="activation")
    result = ops.reduce_mean(y, [1, 2], name="result")

    def after(image: NDArray) -> NDArray:
        mean: NDArray = np.maximum((image - 128) / 128 @ w[0, 0], 0).mean((1, 2))
        return mean

    return contents, resized, result, after


def test_images_of_any_size_and_one_network(
    graph: Graph, session: MakeSession, compiled: list[str], rng: np.random.Generator
) -> None:
    contents, resized, result, after = image_network(rng)
    one = session()
    for i, size in enumerate([(6, 8), (30, 20), (6, 8), (11, 7), (30, 20), (1, 1)]):
        data, pixels = png(*size, seed=i)
        image, found = one.run([resized, result], {contents: data})
        np.testing.assert_allclose(found, after(image), rtol=1e-4, atol=1e-5)
        if size == (6, 8):
            np.testing.assert_allclose(image[0], pixels, atol=1e-4)
    assert sum("Conv2D" in text for text in compiled) == 1, "the network is compiled once, whatever the images are"
    assert sum(text == "DecodeImage" for text in compiled) <= 4
    assert sum("ResizeBilinear" in text for text in compiled) == 4, "one resize for each image size"


def test_the_network_stays_compiled_while_sizes_come_and_go(
    graph: Graph, monkeypatch: pytest.MonkeyPatch, compiled: list[str], rng: np.random.Generator
) -> None:
    monkeypatch.setenv("KIGRAPH_PLAN_CACHE", "1")
    contents, _, result, _ = image_network(rng)
    session = Session(graph, backend="numpy")
    made: list[Any] = []
    get = ConstantStore.get

    def count(self: ConstantStore, key: Any, make: Callable[[], Any]) -> Any:
        return get(self, key, lambda: (made.append(key), make())[1])  # type: ignore[func-returns-value]

    monkeypatch.setattr(ConstantStore, "get", count)
    session.run(result, {contents: png(5, 5)[0]})
    before = len(made)
    for i in range(12):
        session.run(result, {contents: png(5 + i, 4)[0]})
    assert sum("Conv2D" in text for text in compiled) == 1
    assert not [k for k in made[before:] if k[0] == "packed"], "weights are not packed again"
    assert len(session._runner.stages) <= 4


def test_memory_of_stages_is_given_back(graph: Graph) -> None:
    """Arrays between stages go when their last reader has run, and so do the arenas of sizes that may never come again."""
    x = ops.placeholder("float32", [None])
    y = x
    for _ in range(12):
        y = y[: ops.size(y) + ops.cast(ops.reduce_min(y), "int32") - 1] * 1.0
    session = Session(graph, backend="numpy")
    value = np.ones(1 << 20, np.float32)
    assert session.run(y, {x: value[:100]}).size == 100
    tracemalloc.start()
    try:
        for cut in (0, 1, 2):
            assert session.run(y, {x: value[cut:]}).size == value.size - cut
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * value.nbytes
    assert kept < 4 * value.nbytes  # what the first stage, of which there is one for each size fed, has for itself


def test_what_is_known_is_compiled_before_it_runs(graph: Graph, compiled: list[str], rng: np.random.Generator) -> None:
    contents, _, result, _ = image_network(rng)
    session = Session(graph, backend="numpy")
    plan = session.plan(result, {contents: b""})
    assert any("Conv2D" in text for text in compiled)
    count = len(compiled)
    text = plan.explain()
    assert "compiled when its shapes are seen: DecodeImage 'pixels'" in text
    assert len(compiled) == count
    session.run(result, {contents: png(4, 4)[0]})
    session.run(result, {contents: png(9, 4)[0]})
    text = plan.explain()
    assert "compiled when" not in text
    assert "(2 sizes compiled; the last one:)" in text
    assert "host.decode_image" in text


def test_parts_between_feeds_and_fetches(graph: Graph, session: MakeSession, rng: np.random.Generator) -> None:
    contents, resized, result, after = image_network(rng)
    one = session()
    image = rng.random((3, 6, 8, 3), np.float32) * 255
    np.testing.assert_allclose(one.run(result, {resized: image[:1]}), after(image[:1]), rtol=1e-4, atol=1e-5)
    with pytest.raises(KigraphError, match=r"shape \(3, 6, 8, 3\), expected \(1, 6, 8, 3\)"):
        one.run(result, {resized: image})
    pixels = graph.tensor("pixels:0")
    fed = (rng.random((4, 5, 3)) * 255).astype(np.uint8)
    seen, found, back = one.run([resized, result, pixels], {pixels: fed})
    np.testing.assert_allclose(found, after(seen), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(back, fed)
    data, raw = png(4, 5)
    both = one.run([pixels, ops.expand_dims(pixels, 0), resized], {contents: data})
    np.testing.assert_array_equal(both[0], raw)
    assert not np.shares_memory(both[0], both[1])


def test_two_images_in_one_graph(graph: Graph, session: MakeSession) -> None:
    files = [ops.placeholder("string", []) for _ in range(2)]
    decoded = [ops.cast(ops.decode_png(f, channels=3), "float32") for f in files]
    total = ops.reduce_sum(decoded[0], [0, 1]) - ops.reduce_mean(decoded[1], [0, 1])
    again = ops.decode_png(ops.encode_png(ops.cast(decoded[0] * 0.0 + 7.0, "uint8")))
    (a, x), (b, y) = png(3, 4, 1), png(5, 2, 2)
    one = session()
    for first, second, p, q in ((a, b, x, y), (b, a, y, x), (a, a, x, x)):
        found, seven = one.run([total, again], dict(zip(files, (first, second), strict=True)))
        np.testing.assert_allclose(found, p.sum((0, 1)) - q.mean((0, 1)), rtol=1e-4)
        assert seven.shape == p.shape
        assert np.all(seven == 7)


def test_shapes_that_are_fed_or_computed(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [None])
    n, sizes = ops.placeholder("int32", [], name="n"), ops.placeholder("int32", [None], name="sizes")
    square = ops.reshape(x, sizes) * 2.0
    count = ops.cast(ops.reduce_sum(x), "int32")
    numbers = ops.range(0, count)
    filled = ops.fill(ops.stack([count, n]), 0.5) + 1.0
    total = ops.reduce_sum(filled)
    ends = x[: n - 1], x[n], ops.tile(x, [n]), ops.pad(x, [[n, 0]])
    one = session()
    values = np.array([1, 2, 3, 0], np.float32)
    for shape in ([2, 2], [4, 1], [-1, 4], [2, 2], [1, 2, 2]):
        assert one.run(square, {x: values, sizes: shape}).tolist() == (2 * values).reshape(shape).tolist()
    found = one.run([numbers, filled, total], {x: values, n: 2})
    assert found[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert found[1].shape == (6, 2)
    assert found[2] == 18
    for k in (1, 3):
        parts = one.run(list(ends), {x: values, n: k})
        wanted = [values[: k - 1], values[k], np.tile(values, k), np.pad(values, (k, 0))]
        for got, want in zip(parts, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
    for bad in ([3, 2], [-1, -1]):
        with pytest.raises(ShapeError, match="Reshape"):
            one.run(square, {x: values, sizes: bad})
    with pytest.raises(KigraphError, match=r"StridedSlice.*index 9"):
        one.run(ends[1], {x: values, n: 9})
    with pytest.raises(KigraphError, match="Pad"):
        one.run(ends[3], {x: values, n: -1})
    assert one.run(ends[2], {x: values, n: 0}).shape == (0,)


def test_values_that_decide_shapes_are_part_of_the_key(graph: Graph, session: MakeSession, compiled: list[str]) -> None:
    x, axis = ops.placeholder("float32", [2, 3]), ops.placeholder("int32", [])
    y = ops.reduce_sum(ops.relu(x), axis)
    one = session()
    value = np.arange(6, dtype=np.float32).reshape(2, 3)
    for a in (0, 1, 0, 1, -1):
        np.testing.assert_array_equal(one.run(y, {x: value, axis: a}), value.sum(a))
    assert compiled.count("Relu") == 1
    assert compiled.count("Sum") == 3


def computed_shapes(seed: int, feeds: dict[Tensor, Any]) -> list[Tensor]:
    """Vectors and numbers that decide each other's sizes, some of them through files that are written and decoded."""
    rng = np.random.default_rng(seed)
    x, n = ops.placeholder("float32", [None]), ops.placeholder("int32", [])
    feeds.update({x: rng.random(int(rng.integers(1, 5)), np.float32), n: int(rng.integers(1, 5))})
    vectors, numbers = [x], [n]
    for _ in range(int(rng.integers(3, 14))):
        v, m = vectors[rng.integers(len(vectors))], numbers[rng.integers(len(numbers))]
        match rng.integers(13):
            case 0:
                vectors.append(ops.cast(ops.range(0, m), "float32"))
            case 1:
                vectors.append(ops.fill(ops.stack([m]), 0.25))
            case 2:
                vectors.append(v[:m])
            case 3:
                vectors.append(v[::-1])
            case 4:
                vectors.append(ops.reshape(ops.reshape(v, [-1, 1]) * 2.0, [-1]))
            case 5:
                vectors.append(ops.concat([v, vectors[-1], v], 0)[:6])
            case 6:
                vectors.append(ops.pad(v, [[m, 0]])[:7])
            case 7:
                vectors.append(ops.relu(ops.tile(v, [m])[:5] - 0.5))
            case 8:
                numbers.append(ops.cast(ops.reduce_sum(v), "int32") % 4 + 1)
            case 9:
                numbers.append(ops.size(v) % 5 + 1)
            case 10:
                pixels = ops.cast(ops.tile(ops.reshape(v, [1, -1, 1]), [m, 1, 1]), "uint8")
                vectors.append(
                    ops.cast(
                        ops.reshape(ops.decode_png(ops.encode_png(ops.pad(pixels, [[0, 1], [0, 1], [0, 0]]))), [-1]),
                        "float32",
                    )[:4]
                )
            case 11:
                numbers.append(ops.minimum(m + 1, 4))
            case _:
                vectors.append(ops.reduce_sum(ops.reshape(ops.tile(v, [m]), [m, -1]), 0) + ops.zeros_like(v))
    return [*vectors, *numbers]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1))
def test_every_stage_sees_the_right_values(seed: int) -> None:
    """Each tensor is its op applied to the values found for its inputs; fetched together, alone, and again."""
    with Graph().as_default() as graph:
        feeds: dict[Tensor, Any] = {}
        made = computed_shapes(seed, feeds)
        session = Session(graph, backend="numpy")
        every = [op.outputs[0] for op in graph.operations]
        found = dict(zip(every, session.run(every, feeds), strict=True))
        for tensor in every:
            if tensor.op.inputs:
                inputs = {t: found[t] for t in tensor.op.inputs}
                np.testing.assert_array_equal(session.run(tensor, inputs), found[tensor], tensor.name)
        np.testing.assert_array_equal(session.run(made[-1], feeds), found[made[-1]])
        other = {t: (v + 1 if np.ndim(v) == 0 else np.append(v, v)) for t, v in feeds.items()}
        fresh = Session(graph, backend="numpy", skip_passes=[name for name, _ in PASSES]).run(every, other)
        for tensor, a, b in zip(every, session.run(every, other), fresh, strict=True):
            np.testing.assert_array_equal(a, b, tensor.name)


def test_shapes_of_shapes_need_no_second_stage(graph: Graph, session: MakeSession) -> None:
    x = ops.placeholder("float32", [None, None, 3])
    s = ops.shape(x)
    y = ops.reshape(ops.relu(x), [s[0] * s[1], 3])
    z = ops.reshape(y, ops.shape(x)) + ops.zeros_like(x) + ops.cast(ops.size(x) * ops.rank(x), "float32")
    one = session()
    for shape in ((2, 4, 3), (1, 1, 3), (2, 4, 3), (0, 2, 3)):
        value = np.ones(shape, np.float32)
        np.testing.assert_array_equal(one.run(z, {x: value}), value + 3 * value.size)
        assert len(one.plan(z, {x: value}).parts) == 1


def test_a_known_shape_behind_an_unknown_one_is_one_stage(graph: Graph, session: MakeSession) -> None:
    """PlaceholderWithDefault forgets its default's shape; passes take it away, and what follows is static."""
    x = ops.placeholder("float32", [1, 4])
    y = graph.create_op("PlaceholderWithDefault", [x], {"shape": (None, 4)}).outputs[0]
    z = ops.softmax(ops.matmul(y, np.ones((4, 3), np.float32)))
    one = session()
    np.testing.assert_allclose(one.run(z, {x: np.ones((1, 4))}), np.full((1, 3), 1 / 3), rtol=1e-6)
    plan = one.plan(z, {x: np.ones((1, 4))})
    assert [part.static for part in plan.parts] == [True]


def test_explain_and_profile(graph: Graph, session: MakeSession, backend: str, rng: np.random.Generator) -> None:
    x = ops.placeholder("float32", [None, 16, 16, 8], name="x")
    y = ops.relu(ops.conv2d(x, rng.random((3, 3, 8, 16), np.float32), padding="SAME", name="conv"), name="active")
    z = ops.reshape(ops.concat([y, ops.max_pool(y, 3, 1, "SAME", name="pool")], 3, name="join"), [-1, 32])
    one = session()
    feed = {x: np.ones((2, 16, 16, 8), np.float32)}
    plan = one.plan(z, feed)
    text = plan.explain(rejected=True)
    assert text.startswith(f"backends {backend} (strict, from the argument), {one.threads} thread")
    assert "stage 1 of 1 (static shapes" in text
    for part in (
        f"{backend}.",
        "active",
        "KiFusedConv2D",
        "free: its inputs are written in place",
        f"memory on {get_backend(backend).device().name}: arena",
        "1 views",
    ):
        assert part in text, text
    assert " ms" not in text
    one.run(z, feed, profile=True)
    assert plan.timeline is not None
    assert len(plan.timeline.steps) == 2
    assert all(timed.seconds > 0 for _, timed in plan.timeline.steps)
    text = plan.explain()
    assert "last profiled run:" in text
    assert "GFLOP/s" in text
    assert plan.arena_bytes >= 2 * 16 * 16 * 8 * 4
    np.testing.assert_array_equal(one.run(z, feed, profile=True), one.run(z, feed))


def test_flops_of_a_convolution(graph: Graph) -> None:
    x = ops.placeholder("float32", [1, 8, 8, 4])
    y = ops.conv2d(x, np.zeros((3, 3, 4, 10), np.float32), padding="SAME")
    session = Session(graph, backend="numpy")
    flops = 2 * 8 * 8 * 10 * 3 * 3 * 4
    assert f"work: {flops / 1e3:.3g}kFLOP in 1 kernels" in session.plan(y, {x: np.zeros((1, 8, 8, 4))}).explain()


def test_lru() -> None:
    lru = LRU(2)
    made: list[int] = []

    def make(key: int) -> int:
        return lru.get(key, lambda: made.append(key) or key * 10)  # type: ignore[func-returns-value]

    assert [make(k) for k in (1, 2, 1, 3, 2, 1)] == [10, 20, 10, 30, 20, 10]
    assert made == [1, 2, 3, 2, 1]
    assert [k for k, _ in lru.items()] == [2, 1]
    assert lru.find(3) is None
    assert lru.find(2) == 20


def test_the_constant_store_makes_everything_once() -> None:
    import threading

    store = ConstantStore()
    made: list[int] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait(10)
        for key in range(20):
            assert store.get(key, lambda key=key: made.append(key) or key) == key  # type: ignore[misc]

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert sorted(made) == list(range(20))

    def fail() -> int:
        raise RuntimeError("not now")

    with pytest.raises(RuntimeError):
        store.get("late", fail)
    assert store.get("late", lambda: 5) == 5
