"""Routes, bodies, limits and errors of the service, in process."""

from __future__ import annotations

import base64
import io
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kigraph as ki
from kigraph.kernels.conformance import process_seed

#: A whole image: one grey pixel.
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==")

starlette_testclient = pytest.importorskip("starlette.testclient")
Image = Callable[..., bytes]


def _client(model: Any, image: Image, **options: Any) -> Any:
    from kigraph.serve.app import Options, create_app

    return starlette_testclient.TestClient(
        create_app(model, image(), Options(**options)), raise_server_exceptions=False
    )


@pytest.fixture(scope="module")
def client(model_path: Path, image: Image) -> Iterator[Any]:
    with _client(ki.load(model_path, backend="numpy"), image, max_image_bytes=1 << 20) as opened:
        yield opened


def _labels(response: Any) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    labels: list[dict[str, Any]] = response.json()["labels"]
    assert [x["probability"] for x in labels] == sorted((x["probability"] for x in labels), reverse=True)
    assert {x["label"] for x in labels} <= {"cat", "dog"}
    return labels


@pytest.mark.parametrize("route", ["/v1/classify", "/recognize"])
def test_three_kinds_of_body_give_one_answer(client: Any, image: Image, model_path: Path, route: str) -> None:
    data = image()
    want = [(x.label, x.probability) for x in ki.load(model_path, backend="numpy").classify(data)]
    raw = client.post(route, content=data, headers={"content-type": "image/jpeg"}, params={"filename": "a.jpg"})
    form = client.post(route, files={"image": ("../b.jpg", data, "image/jpeg")})
    text = client.post(route, json={"image": base64.b64encode(data).decode(), "filename": "c.jpg"})
    for response, name in ((raw, "a.jpg"), (form, "b.jpg"), (text, "c.jpg")):
        assert [(x["label"], x["probability"]) for x in _labels(response)] == want
        assert response.json()["filename"] == name


def test_top_and_formats(client: Any, image: Image) -> None:
    assert len(_labels(client.post("/v1/classify", content=image("PNG"), params={"top": 1}))) == 1
    for kind in ("PNG", "WEBP", "BMP", "GIF"):
        _labels(client.post("/v1/classify", content=image(kind), headers={"content-type": f"image/{kind.lower()}"}))


def test_wrong_requests_have_their_status(client: Any, image: Image) -> None:
    data = image()
    cases: list[tuple[int, dict[str, Any]]] = [
        (415, {"content": data, "headers": {"content-type": "text/plain"}}),
        (413, {"content": bytes(2 << 20), "headers": {"content-type": "image/jpeg"}}),
        (413, {"json": {"image": base64.b64encode(bytes(1 << 21)).decode()}}),
        (422, {"content": b"", "headers": {"content-type": "image/jpeg"}}),
        (422, {"content": b"not an image", "headers": {"content-type": "image/jpeg"}}),
        (422, {"content": data[: len(data) // 2], "headers": {"content-type": "image/jpeg"}}),
        (422, {"files": {"picture": ("a.jpg", data)}}),
        (400, {"json": {"photo": "x"}}),
        (400, {"json": {"image": "!!!"}}),
        (400, {"json": ["image"]}),
        (400, {"json": {"image": 7}}),
        (400, {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}),
        (400, {"content": b"--x", "headers": {"content-type": "multipart/form-data"}}),
        (400, {"content": data, "params": {"top": "many"}}),
        (400, {"content": data, "params": {"top": "0"}}),
        (400, {"content": data, "headers": {"x-request-timeout": "soon"}}),
        *(
            (400, {"content": data, "headers": {"x-request-timeout": t}})
            for t in ("nan", "inf", "-1", "0", "-0", "", "1_0", "0x1", "1e999", "1 s", "1,1")
        ),
        (415, {"content": data, "headers": {"content-encoding": "gzip"}}),
    ]
    for status, request in cases:
        response = client.post("/v1/classify", **request)
        assert response.status_code == status, (request.get("headers"), response.text)
        error = response.json()["error"]
        assert error["code"]
        assert error["message"]
        assert "/tmp" not in error["message"]  # no paths


@pytest.mark.slow
def test_a_chunked_body_is_bounded_while_it_is_read(client: Any) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield bytes(1 << 16)

    response = client.post("/v1/classify", content=endless(), headers={"content-type": "image/jpeg"})
    assert response.status_code == 413


@pytest.mark.slow
def test_corrupted_images_only_give_4xx(client: Any, image: Image) -> None:
    """A thousand damaged files of several formats: each is answered, none breaks the service."""
    rng = random.Random(process_seed())
    originals = [image(kind, seed=n) for n, kind in enumerate(("JPEG", "PNG", "GIF", "BMP", "WEBP"))]
    statuses: dict[int, int] = {}
    for _ in range(1000):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(len(data))
            action = rng.random()
            if action < 0.6:
                data[at] = rng.randrange(256)
            elif action < 0.8:
                del data[at : at + rng.randint(1, 40)]
            else:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))
        status = client.post("/v1/classify", content=bytes(data[: rng.randint(1, len(data))]) or b"x").status_code
        statuses[status] = statuses.get(status, 0) + 1
    # Some damage leaves a file that decodes: that is an answer, not an error.
    assert set(statuses) <= {200, 422}, statuses
    assert statuses[422] > 500
    _labels(client.post("/v1/classify", content=originals[0]))


def test_pages_for_people_and_machines(client: Any) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Drop images here" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text  # no external resources
    assert "https://" not in page.text
    assert client.get("/livez").text == "alive\n"
    assert client.get("/readyz").status_code == 200
    metrics = client.get("/metrics").text
    assert 'kigraph_requests_total{route="/v1/classify"' in metrics


class SlowModel:
    """Stands in for a model: every image takes until ``gate`` opens."""

    path, name, labelled = None, "slow", True

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False

    def classify(self, data: bytes, top: int = 5) -> Any:
        from kigraph.classifier import Prediction
        from kigraph.vision.labels import Label

        assert self.gate.wait(60)
        if self.broken:
            raise RuntimeError("secret /path/to/model")
        return Prediction("x", (Label("cat", 1.0, 0, None),))


def _until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.001)


def _posted(client: Any, count: int) -> tuple[list[threading.Thread], list[int]]:
    """Sends ``count`` images to a gated service of one worker: the first is being worked on before the others go out."""
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(client.post("/v1/classify", content=PIXEL).status_code))
        for _ in range(count)
    ]
    engine = client.app.state.service.engine
    _until(lambda: engine.depth == 0)  # the canary has gone
    threads[0].start()
    _until(lambda: engine.running == 1)
    for thread in threads[1:]:
        thread.start()
    return threads, statuses


def test_a_full_queue_says_429_and_when_to_come_back(image: Image) -> None:
    model = SlowModel()
    with _client(model, image, queue_size=2) as client:
        model.gate.clear()
        threads, statuses = _posted(client, 12)
        _until(lambda: statuses.count(429) == 9)  # one is being worked on, two wait
        response = client.post("/v1/classify", content=PIXEL)
        assert response.status_code == 429
        assert int(response.headers["retry-after"]) >= 1
        model.gate.set()
        for thread in threads:
            thread.join()
        assert sorted(statuses) == [200] * 3 + [429] * 9


def test_a_full_queue_answers_before_the_body_is_read(image: Image) -> None:
    import asyncio

    model = SlowModel()
    with _client(model, image, queue_size=1) as client:
        model.gate.clear()
        threads, _ = _posted(client, 2)
        service = client.app.state.service
        _until(lambda: service.engine.depth == 2)
        for length, closes in ((b"3000", False), (b"3000000", True)):
            events: list[Any] = []

            async def receive() -> dict[str, Any]:
                raise AssertionError("the body was asked for")

            async def send(message: Any, events: list[Any] = events) -> None:
                events.append(message)

            scope = {
                "type": "http", "method": "POST", "path": "/v1/classify", "query_string": b"", "app": client.app,
                "headers": [(b"content-type", b"image/png"), (b"content-length", length)],
            }  # fmt: skip
            asyncio.run(client.app(scope, receive, send))
            assert [m["type"] for m in events] == ["http.response.start", "http.response.body"]
            headers = dict(events[0]["headers"])
            assert events[0]["status"] == 429
            assert (headers.get(b"connection") == b"close") == closes
            assert int(headers[b"retry-after"]) >= 1
        assert len(service.uploads) == 0
        model.gate.set()
        for thread in threads:
            thread.join()


def test_what_takes_too_long_is_504_and_the_service_goes_on(image: Image) -> None:
    model = SlowModel()
    with _client(model, image) as client:
        model.gate.clear()
        response = client.post("/v1/classify", content=PIXEL, headers={"x-request-timeout": "0.2"})
        assert response.status_code == 504
        model.gate.set()
        assert client.post("/v1/classify", content=PIXEL).status_code == 200


def test_an_unexpected_error_tells_an_id_and_nothing_else(image: Image, caplog: pytest.LogCaptureFixture) -> None:
    model = SlowModel()
    with _client(model, image) as client:
        model.broken = True
        response = client.post("/v1/classify", content=PIXEL)
    assert response.status_code == 500
    message = response.json()["error"]["message"]
    assert "secret" not in message
    assert message.split()[2].rstrip(";") in caplog.text


def test_draining_refuses_new_images_and_finishes_accepted_ones(image: Image) -> None:
    model = SlowModel()
    with _client(model, image) as client:
        model.gate.clear()
        threads, statuses = _posted(client, 3)
        engine = client.app.state.service.engine
        _until(lambda: engine.depth == 3)
        engine.drain()
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
        assert client.post("/v1/classify", content=PIXEL).status_code == 503
        model.gate.set()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 3


def test_a_broken_model_never_becomes_ready(image: Image) -> None:
    class Broken:
        path, name, labelled = None, "broken", False

        def classify(self, data: bytes, top: int = 5) -> Any:
            raise ki.KernelError("no")

    with _client(Broken(), image) as client:
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200


def test_multipart_goes_through_a_spooled_file_only_in_memory(client: Any, image: Image) -> None:
    """A multipart image larger than the parser's spool size arrives whole."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.effect_noise((900, 900), 80).convert("RGB").save(file, "JPEG", quality=70)
    assert len(file.getvalue()) > 100_000
    _labels(client.post("/v1/classify", files={"image": ("big.jpg", file.getvalue(), "image/jpeg")}))


def test_an_encoded_body_is_told_what_is_read(client: Any, image: Image) -> None:
    response = client.post("/v1/classify", content=image(), headers={"content-encoding": "GZip"})
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")
    _labels(client.post("/v1/classify", content=image(), headers={"content-encoding": "identity"}))


def test_a_refused_image_writes_none_of_its_bytes(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert client.post("/v1/classify", content=b"secret bytes of somebody").status_code == 422
    form = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/v1/classify", content=b"--y secret", headers=form).status_code == 400
    assert "secret" not in caplog.text
    assert not [r for r in caplog.records if r.name.startswith(("kigraph", "python_multipart"))]
