"""Profiles: times belong to the right steps, the sums are right, and every form of it says the same."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from kigraph.graph import ops
from kigraph.graph.builder import Graph
from kigraph.graph.draw import Cost, to_dot, to_html, to_svg
from kigraph.graph.draw.heat import heat_of, time_text
from kigraph.graph.errors import FetchError, GraphError
from kigraph.graph.profile import Profile
from kigraph.graph.session import Session
from kigraph.kernels import backends
from kigraph.kernels.kernel import Roof


def network() -> Graph:
    """Two convolutions, a pool and a matrix product; then a string, so that there is a second device-less op."""
    rng = np.random.default_rng(0)
    graph = Graph()
    with graph.as_default():
        x = ops.placeholder("float32", [None, 32, 32, 3], name="x")
        for i, (inputs, outputs) in enumerate(((3, 16), (16, 64))):
            kernel = ops.constant(rng.standard_normal((3, 3, inputs, outputs)).astype("f4"))
            x = ops.relu(ops.conv2d(x, kernel, strides=[1, 1, 1, 1], padding="SAME"), name=f"conv{i}")
        x = ops.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID", name="pool")
        x = ops.reshape(x, [-1, 16 * 16 * 64])
        ops.matmul(x, ops.constant(rng.standard_normal((16 * 16 * 64, 5)).astype("f4")), name="scores")
    return graph


FEED = {"x:0": np.random.default_rng(1).standard_normal((2, 32, 32, 3)).astype("f4")}


@pytest.fixture
def profile(backend: str) -> Profile:
    return Session(network(), backend=backend, threads=1).profile("scores", FEED, runs=3)


def test_steps_are_those_of_the_plan_with_their_work(profile: Profile) -> None:
    assert [s.node for s in profile.steps] == ["conv0", "conv1", "pool", "scores"]
    conv0, conv1, _, scores = profile.steps
    assert conv1.flops == 2 * (2 * 32 * 32 * 64) * (9 * 16)
    assert conv0.flops * 64 == conv1.flops * 3
    assert scores.flops == 2 * 2 * 16 * 16 * 64 * 5
    assert conv1.outputs == ("float32[2, 32, 32, 64]",)
    for step in profile.steps:
        assert 0 < step.best <= step.seconds <= step.worst
        assert step.kernel.count(".") == 1
        assert step.bytes > 0
    assert profile.runs == 3
    assert profile.outside >= 0
    assert profile.seconds >= sum(s.best for s in profile.steps)


def test_run_keeps_the_profile_and_gives_the_same_results(backend: str) -> None:
    session = Session(network(), backend=backend)
    assert session.last_profile is None
    plain = session.run("scores", FEED)
    assert session.last_profile is None
    np.testing.assert_array_equal(session.run("scores", FEED, profile=True), plain)
    found = session.last_profile
    assert found is not None
    assert found.runs == 1
    assert [s.seconds for s in found.steps] == [s.span for s in found.steps]
    timeline = session.plan("scores", FEED).timeline
    assert timeline is not None
    assert [timed.step.node for _, timed in timeline.steps] == [s.node for s in found.steps]
    session.close()
    assert session.last_profile is None


def test_medians_are_over_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of our own: the k-th run's steps take k, 2k, 3k, 4k seconds."""
    session = Session(network(), backend="numpy", threads=1)
    session.run("scores", FEED)
    now, number, step = [0.0], [0], [0]

    def clock() -> float:
        # Per run: begin, then (start, end) of 4 steps, then the end.
        at = step[0] % 10
        if at == 0:
            number[0] += 1
        elif at < 9 and at % 2 == 0:
            now[0] += number[0] * at / 2
        elif at == 9:
            now[0] += 0.5
        step[0] += 1
        return now[0]

    monkeypatch.setattr(time, "perf_counter", clock)
    found = session.profile("scores", FEED, runs=5, warm_up=1)
    monkeypatch.undo()
    assert [s.seconds for s in found.steps] == [4.0, 8.0, 12.0, 16.0]  # runs 2 to 6
    assert [(s.best, s.worst) for s in found.steps] == [(2.0 * i, 6.0 * i) for i in (1, 2, 3, 4)]
    assert found.seconds == 40.5
    assert found.outside == 0.5
    assert [s.start for s in found.steps] == [0.0, 4.0, 12.0, 24.0]


def test_progress_and_wrong_numbers() -> None:
    session = Session(network(), backend="numpy")
    seen: list[int] = []
    session.profile("scores", FEED, runs=2, warm_up=1, progress=seen.append)
    assert seen == [1, 2, 3]
    with pytest.raises(FetchError, match="runs >= 1"):
        session.profile("scores", FEED, runs=0)


def test_variables_advance_as_in_runs() -> None:
    graph = Graph()
    with graph.as_default():
        count = ops.variable(np.float32(0), name="count")
        step = ops.assign_add(count, 1.0)
    session = Session(graph, backend="numpy")
    session.profile(step, runs=3, warm_up=2)
    assert session.variable_value("count") == 5


def test_profiles_of_several_threads_do_not_mix() -> None:
    session = Session(network(), backend="numpy", threads=1)
    found: dict[int, Profile] = {}

    def work(batch: int) -> None:
        found[batch] = session.profile("scores", {"x:0": np.zeros((batch, 32, 32, 3), "f4")}, runs=5)

    threads = [threading.Thread(target=work, args=(batch,)) for batch in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for batch, one in found.items():
        assert len(one.steps) == 4
        assert one.steps[3].outputs == (f"float32[{batch}, 5]",)


# --- the roofline -----------------------------------------------------------------------------------------------------


def test_roof_is_measured_once_and_plausible() -> None:
    pytest.importorskip("kigraph.kernels.cython.core")
    backends.roof_of.cache_clear()
    roof = backends.roof_of("cpu", 1)
    assert roof is not None
    assert 1e9 < roof.flops < 1e12
    assert 1e8 < roof.bytes < 1e12
    assert backends.roof_of("cpu", 1) is roof
    assert backends.roof_of("no such device", 1) is None


def test_the_probes_count_what_they_do() -> None:
    core = pytest.importorskip("kigraph.kernels.cython.core")
    assert core.probe_flops(1000) == 1000 * 12 * 2 * core.F32_LANES
    assert core.probe_flops(0) == 0
    assert core.probe_read(np.ones(256, "f4")) == 1024
    assert core.probe_read(np.zeros(0, "f4")) == 0
    with pytest.raises(ValueError, match="128"):
        core.probe_read(np.ones(100, "f4"))


def test_share_of_the_roof(monkeypatch: pytest.MonkeyPatch, profile: Profile) -> None:
    step = profile.steps[1]
    monkeypatch.setitem(profile.__dict__, "roofs", {"cpu": Roof(1e9, 1e15, "by hand")})
    assert profile.share_of_roof(step) == pytest.approx(step.flops / 1e9 / step.seconds)
    monkeypatch.setitem(profile.__dict__, "roofs", {"cpu": Roof(1e15, 1e9, "by hand")})
    assert profile.share_of_roof(step) == pytest.approx(step.bytes / 1e9 / step.seconds)
    assert "by hand" in profile.summary()
    monkeypatch.setitem(profile.__dict__, "roofs", {"cpu": None})
    assert profile.share_of_roof(step) is None
    assert Roof(2e9, 1e9, "").seconds(8e9, 1e9, itemsize=8) == 8


# --- forms ------------------------------------------------------------------------------------------------------------


def test_table(profile: Profile) -> None:
    lines = profile.table().splitlines()
    assert lines[0].split()[:4] == ["step", "op", "kernel", "ms"]
    times = [float(line.split()[3]) for line in lines[1:5]]
    assert times == sorted(times, reverse=True)
    assert [line.split()[0] for line in profile.table(order="run").splitlines()[1:5]] == [
        "conv0",
        "conv1",
        "pool",
        "scores",
    ]
    assert "... 2 steps more" in profile.table(2)
    assert "outside of steps" in profile.table()
    assert sum(k.seconds for k in profile.by_kernel()) == pytest.approx(profile.steps_seconds)
    assert sum(k.steps for k in profile.by_kernel()) == 4
    with pytest.raises(GraphError, match="'time' or 'run'"):
        profile.table(order="name")


def test_json(profile: Profile) -> None:
    data = json.loads(json.dumps(profile.to_json()))
    assert [s["node"] for s in data["steps"]] == ["conv0", "conv1", "pool", "scores"]
    assert data["steps"][1]["flops"] == profile.steps[1].flops
    assert data["steps"][1]["seconds"] == profile.steps[1].seconds
    assert sum(s["share"] for s in data["steps"]) == pytest.approx(profile.steps_seconds / profile.seconds)


def test_chrome_trace(profile: Profile, tmp_path: Path) -> None:
    data = json.loads(profile.write_trace(tmp_path / "trace.json").read_text())
    named = {e["tid"]: e["args"]["name"] for e in data["traceEvents"] if e["name"] == "thread_name"}
    events = [e for e in data["traceEvents"] if e["ph"] == "X"]
    assert named == {1: "stage 1 on cpu"}
    assert [e["name"] for e in events] == ["conv0", "conv1", "pool", "scores"]
    for event, step in zip(events, profile.steps, strict=True):
        assert event["tid"] in named
        assert event["dur"] == pytest.approx(step.span * 1e6, abs=1e-3)
        assert event["ts"] == pytest.approx(step.start * 1e6, abs=1e-3)
        assert event["args"]["kernel"] == step.kernel
        assert event["args"]["inputs"] == ", ".join(step.inputs)
    for before, after in itertools.pairwise(events):
        assert after["ts"] >= before["ts"] + before["dur"] - 2e-3, "steps of one track must not overlap"


def test_stages_have_tracks_of_their_own() -> None:
    png = b"\x89PNG\r\n\x1a\n"
    graph = Graph()
    with graph.as_default():
        image = ops.decode_image(ops.placeholder("string", [], name="file"), channels=3, expand_animations=False)
        ops.reduce_mean(ops.cast(image, "float32"), [0, 1], name="mean")
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (4, 5), (9, 9, 9)).save(buffer, "PNG")
    assert buffer.getvalue().startswith(png)
    found = Session(graph, backend="numpy").profile("mean", {"file:0": buffer.getvalue()}, runs=2)
    trace = found.chrome_trace()["traceEvents"]
    assert len([e for e in trace if e["name"] == "thread_name"]) == len({s.stage for s in found.steps}) == 2
    assert found.steps[0].flops == 0  # a string in: nothing can be counted
    found.table()


def boxes(svg: str) -> dict[str, tuple[str, list[str]]]:
    """data-key -> (fill, texts)."""
    space = "{http://www.w3.org/2000/svg}"
    result = {}
    for group in ElementTree.fromstring(svg).iter(space + "g"):
        if "data-key" in group.attrib:
            (body,) = [r for r in group.iter(space + "rect") if r.attrib.get("class") == "body"]
            result[group.attrib["data-key"]] = (body.attrib["fill"], [t.text or "" for t in group.iter(space + "text")])
    return result


def test_drawing_is_coloured_by_time(profile: Profile, tmp_path: Path) -> None:
    svg = profile.draw(tmp_path / "out.svg", title="net").read_text()
    found = boxes(svg)
    hottest = profile.slowest(1)[0]
    assert found[hottest.node][0] == "#ee6a4d"
    assert any(hottest.kernel in line for line in found[hottest.node][1])
    assert any(line.startswith(time_text(hottest.seconds)) for line in found[hottest.node][1])
    assert found["x"][0] == "#f6f7f9", "a placeholder has no time of its own"
    assert "net: " in svg
    assert "time of a box" in svg
    html = profile.draw(tmp_path / "out.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))  # type: ignore[union-attr]
    costs = {n["name"]: n["cost"] for n in data["nodes"] if "cost" in n}
    assert set(costs) == {"conv0", "conv1", "pool", "scores"}
    assert "#ee6a4d" in profile.draw(tmp_path / "out.dot").read_text()
    with pytest.raises(GraphError, match=r"\.html, \.svg, \.dot"):
        profile.draw(tmp_path / "out.png")


def test_collapsed_scopes_sum_their_nodes() -> None:
    graph = Graph()
    with graph.as_default():
        x = ops.placeholder("float32", [4], name="x")
        for i in range(30):
            x = ops.exp(ops.negative(x, name=f"layer{i}/minus"), name=f"layer{i}/exp")
    costs = {f"layer{i}/{op}": Cost((i + 1) * 1e-3) for i in range(30) for op in ("minus", "exp")}
    found = boxes(to_svg(graph, costs=costs, max_boxes=40))
    assert found["layer4/"][1][-1] == "10 ms · 1.1%"
    assert found["layer29/"][0] == "#ee6a4d"
    assert found["layer0/"][0] not in ("#ee6a4d", "#f6f7f9")


def test_pictures_without_costs_are_as_before() -> None:
    graph = network()
    assert "time of a box" not in to_svg(graph)
    assert 'class="heat"' not in to_svg(graph)
    assert '"cost"' not in to_html(graph)
    assert to_dot(graph) == to_dot(graph, costs=None)


def test_notes_cannot_break_out_of_the_page() -> None:
    graph = network()
    evil = "</script><script>alert(1)</script>\u202e"
    for text in (to_html(graph, costs={"pool": Cost(1.0, evil)}), to_svg(graph, costs={"pool": Cost(1.0, evil)})):
        assert evil not in text
        assert "<script>alert" not in text
        assert "\u202e" not in text
    assert evil not in to_dot(graph, costs={"pool": Cost(1.0, evil)})


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.00123, "1.23 ms"), (45.6e-6, "45.6 µs"), (0.0, "0 µs"), (1.0, "1 s")]
)
def test_time_text(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_heat_without_time_divides_by_nothing() -> None:
    heat = heat_of({"a": Cost(0.0)}, [0.0, None])
    assert heat.paint(0.0)[0] == "#ffffff"
    assert heat.line(0.0) == "0 µs"
