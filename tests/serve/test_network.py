"""Batches, several images in a request, and where the time goes."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki

testclient = pytest.importorskip("starlette.testclient")
network = pytest.importorskip("kigraph.serve.network")
Image = Callable[..., bytes]


def _client(model: Any, image: Image, **options: Any) -> Any:
    from kigraph.serve.app import Options, create_app

    return testclient.TestClient(create_app(model, image(), Options(**options)), raise_server_exceptions=False)


@pytest.fixture
def client(model_path: Path, image: Image) -> Iterator[Any]:
    with _client(ki.load(model_path, backend="numpy"), image, images=5, batch=4, max_image_bytes=1 << 16) as opened:
        yield opened


def _never() -> bool:
    return False


def test_what_is_ready_goes_together_and_every_image_gets_its_own_row() -> None:
    sizes: list[int] = []
    open_, started = threading.Event(), threading.Event()

    def compute(images: Any) -> Any:
        started.set()
        assert open_.wait(30)
        sizes.append(len(images))
        return images * 2

    batches: list[int] = []
    net = network.Network(compute, batch=4, seen=lambda seconds, count: batches.append(count))
    net.start()
    first = net.put(np.full((1, 3), 0.0), _never)
    assert started.wait(30)
    rest = [net.put(np.full((1, 3), float(n)), _never) for n in range(1, 8)]
    gone = net.put(np.zeros((1, 3)), lambda: True)
    open_.set()
    for number, passed in enumerate([first, *rest]):
        assert passed.result(30).value.tolist() == [2.0 * number] * 3
    assert gone.cancelled() or gone.exception(30) is not None
    assert sizes == batches == [1, 4, 2, 1]  # powers of two; nothing was computed for who has gone
    assert net.stop(5.0)
    with pytest.raises(RuntimeError, match="not loaded"):
        net.put(np.zeros((1, 3)), _never)


def test_a_batch_waits_for_what_is_being_decoded_and_for_nothing_else() -> None:
    sizes: list[int] = []

    def compute(images: Any) -> Any:
        sizes.append(len(images))
        return images

    net = network.Network(compute, batch=2, wait=30.0)
    net.start()
    net.put(np.zeros((1, 1)), _never).result(10)  # nobody comes: at once
    with net.expecting():
        early = net.put(np.zeros((1, 1)), _never)
        late = net.put(np.zeros((1, 1)), _never)
    assert early.result(10).batch == late.result(10).batch == 2
    with net.expecting():  # the one that was expected does not come
        alone = net.put(np.zeros((1, 1)), _never)
    assert alone.result(10).batch == 1
    assert net.stop(5.0)


def test_a_failure_is_that_of_its_batch_only() -> None:
    def compute(images: Any) -> Any:
        if images[0, 0] < 0:
            raise ValueError("bad")
        return images

    net = network.Network(compute)
    net.start()
    bad, good = net.put(np.full((1, 1), -1.0), _never), net.put(np.ones((1, 1)), _never)
    with pytest.raises(ValueError, match="bad"):
        bad.result(10)
    assert good.result(10).value.tolist() == [1.0]
    assert net.call(lambda: "alone", _never).result(10).value == "alone"
    assert net.stop(5.0)


def test_the_batch_is_chosen_by_measurement(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.serve import batching

    model = ki.load(model_path, backend="numpy")
    for times, batch in (
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),
        ({1: 1.0, 2: 1.2, 4: 2.0, 8: 3.9}, 4),
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 8),
        ({1: 1.0, 2: 2.5, 4: 0.1, 8: 0.1}, 1),
    ):
        monkeypatch.setattr(batching, "_seconds", lambda model, size, times=times: times[size])
        choice = batching.choose_batch(model, None)
        assert choice.batch == batch
        assert "1: 1e+03 ms" in choice.reason
    assert batching.choose_batch(model, 16) == batching.Choice(16, "set by the operator")


def test_an_answer_is_the_librarys_whatever_batch_it_was_in(client: Any, model_path: Path, image: Image) -> None:
    model = ki.load(model_path, backend="numpy")
    photos = [image(seed=n, size=(30 + n, 40)) for n in range(5)]
    answers: dict[int, Any] = {}

    def send(n: int) -> None:
        answers[n] = client.post("/v1/classify", content=photos[n]).json()

    threads = [threading.Thread(target=send, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, photo in enumerate(photos):
        want = {x.label: x.probability for x in model.classify(photo)}
        # NumPy's matrix products round differently for another batch.
        assert {x["label"]: x["probability"] for x in answers[n]["labels"]} == pytest.approx(want, rel=1e-5)
        assert set(answers[n]["milliseconds"]) == {"queue", "decode", "compute"}
        assert answers[n]["milliseconds"]["compute"] > 0


def test_several_images_have_each_an_answer_or_an_error(client: Any, image: Image) -> None:
    good, bad = image(), b"no image"
    b64 = base64.b64encode(good).decode()
    form = client.post(
        "/v1/classify", files=[("images", ("a.jpg", good)), ("images", ("b.jpg", bad)), ("images", ("c.jpg", b""))]
    )
    json_ = client.post(
        "/v1/classify",
        json={"images": [{"b64": b64, "filename": "a.jpg"}, {"image": base64.b64encode(bad).decode(), "filename": "b.jpg"}, {"b64": "", "filename": "c.jpg"}]},
    )  # fmt: skip
    for response in (form, json_):
        assert response.status_code == 200, response.text
        results = response.json()["results"]
        assert [r["filename"] for r in results] == ["a.jpg", "b.jpg", "c.jpg"]
        assert {x["label"] for x in results[0]["labels"]} == {"cat", "dog"}
        assert [r["error"]["code"] for r in results[1:]] == ["bad_image", "no_image"]
        assert response.json()["model"]["version"] == "1"
    one = client.post("/v1/classify", files=[("images", ("a.jpg", good))]).json()
    assert len(one["results"]) == 1
    two = client.post("/v1/classify", files=[("image", ("a.jpg", good)), ("image", ("b.jpg", good))]).json()
    assert len(two["results"]) == 2
    assert client.post("/v1/classify", json={"images": [b64] * 2}).json()["results"][1]["labels"]


def test_too_many_and_too_large_are_refused(client: Any, image: Image) -> None:
    good = image()
    b64 = base64.b64encode(good).decode()
    for request in (
        {"files": [("images", ("a", good))] * 6},
        {"json": {"images": [b64] * 6}},
        {"json": {"images": []}},
    ):
        answer = client.post("/v1/classify", **request)
        assert answer.status_code == 422, answer.text
    assert client.post("/v1/classify", files=[("images", ("a", good))] * 100).status_code == 400
    large = bytes(70_000)
    assert client.post("/v1/classify", files=[("images", ("a", good)), ("images", ("b", large))]).status_code == 413
    for document in (
        {"images": b64},
        {"images": [5]},
        {"images": [{"photo": b64}]},
        {"images": [b64], "image": b64},
        {"images": [{"b64": b64, "image": b64}]},
    ):
        assert client.post("/v1/classify", json=document).status_code == 400


def test_more_images_than_may_wait_are_429(model_path: Path, image: Image) -> None:
    with _client(ki.load(model_path, backend="numpy"), image, queue_size=2) as client:
        answer = client.post("/v1/classify", files=[("images", ("a", image()))] * 8)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        engine = client.app.state.service.engine
        assert engine.depth == 0
        assert client.post("/v1/classify", files=[("images", ("a", image()))] * 2).status_code == 200


def test_pixels_that_are_decoded_at_once_are_bounded() -> None:
    from kigraph.serve.memory import PixelBudget

    budget, now, most = PixelBudget(100), 0, 0
    lock = threading.Lock()

    def decode(pixels: int) -> None:
        nonlocal now, most
        with budget.taken(pixels):
            with lock:
                now += pixels
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= pixels

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in (60, 40, 60, 30, 90, 10) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 40 < most <= 100
    with budget.taken(500):  # larger than all of it: alone
        pass


def test_metrics_of_a_model(client: Any, image: Image) -> None:
    client.post("/v1/classify", files=[("images", ("a", image())), ("images", ("b", b"junk"))])
    text = client.get("/metrics").text
    key = 'model="model.pb"'
    for stage in ("decode", "queue", "compute"):
        assert f'kigraph_model_seconds_count{{{key},stage="{stage}",version="1"}}' in text
    assert f'kigraph_model_images_total{{{key},outcome="refused",version="1"}} 1.0' in text
    assert f'kigraph_model_pending{{{key},version="1"}} 0.0' in text
    assert f'kigraph_model_batch_limit{{{key},reason="set by the operator",version="1"}} 4.0' in text
