"""The checks that every request and answer passes, and the refusal of an image before its body is read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kigraph as ki
from kigraph.kernels.conformance import process_seed

testclient = pytest.importorskip("starlette.testclient", reason="needs the extra serve")
pytest.importorskip("uvicorn", reason="needs the extra serve")


def _app(model_path: Path, image: Callable[..., bytes], **options: Any) -> Any:
    from kigraph.serve.app import Options, create_app

    return testclient.TestClient(create_app(ki.load(model_path, backend="numpy"), image(), Options(**options)))


@pytest.fixture(scope="module")
def client(model_path: Path, image: Callable[..., bytes]) -> Iterator[Any]:
    with _app(model_path, image, allowed_hosts=("a.example", "*.b.example")) as opened:
        opened.headers["host"] = "localhost:8080"
        yield opened


def test_every_answer_has_the_headers_and_every_error_one_form(client: Any) -> None:
    cases: list[tuple[str, str, int, dict[str, str]]] = [
        ("GET", "/", 200, {}), ("GET", "/livez", 200, {}), ("HEAD", "/livez", 200, {}), ("GET", "/readyz", 200, {}),
        ("GET", "/metrics", 200, {}), ("GET", "/openapi.json", 200, {}), ("GET", "/nothing", 404, {}), ("GET", "/livez/", 404, {}),
        ("GET", "/livez/x", 404, {}), ("DELETE", "/livez", 405, {}), ("GET", "/v1/classify", 405, {}),
        ("POST", "/v1/classify", 415, {"content-type": "text/plain"}), ("POST", "/v1/classify", 422, {}),
        ("POST", "/v1/classify", 403, {"origin": "null"}), ("GET", "/", 403, {"host": "c.example"}),
    ]  # fmt: skip
    for method, path, status, headers in cases:
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == status, (method, path, answer.text)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert len(answer.headers["x-request-id"]) == 16
        policy = answer.headers["content-security-policy"]
        assert all(
            part in policy
            for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")
        )
        if status >= 400:
            assert set(answer.json()["error"]) == {"code", "message"}
    assert client.delete("/livez").headers["allow"]


def test_a_415_names_the_header_and_the_types(client: Any) -> None:
    answer = client.post("/v1/classify", content=b"x", headers={"content-type": "application/x-www-form-urlencoded"})
    assert answer.status_code == 415
    message = answer.json()["error"]["message"]
    for named in (
        "Content-Type",
        "x-www-form-urlencoded",
        "image/jpeg",
        "multipart/form-data",
        "application/json",
        "base64",
    ):
        assert named in message
    assert "image/*" in answer.headers["accept"]


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("localhost", True), ("LOCALHOST:9", True), ("x.localhost", True), ("127.0.0.1:80", True), ("127.1.2.3", True),
        ("[::1]:8080", True), ("a.example", True), ("A.Example:443", True), ("x.b.example", True), ("b.example", False),
        ("xa.example", False), ("a.example.evil", False), ("xb.example", False), ("128.0.0.1", False), ("127.0.0.1.evil", False),
        ("localhost.evil", False), ("[::2]", False), ("127.0.0.1x", False),
    ],
)  # fmt: skip
def test_hosts(client: Any, host: str, served: bool) -> None:
    assert client.get("/livez", headers={"host": host}).status_code == (200 if served else 403)


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({}, True),
        ({"origin": "http://localhost:8080"}, True),
        ({"origin": "https://a.example", "host": "a.example"}, True),
        ({"origin": "https://a.example", "host": "a.example:443"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "http://localhost"}, False),
        ({"origin": "http://localhost:8081"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://localhost:8080.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"origin": "file://localhost:8080"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_pages_of_other_sites_send_nothing(
    client: Any, image: Callable[..., bytes], headers: dict[str, str], let_in: bool
) -> None:
    answer = client.post("/v1/classify", content=image(), headers={"content-type": "image/jpeg"} | headers)
    assert answer.status_code == (200 if let_in else 403)
    assert client.get("/livez", headers=headers).status_code == 200


def test_allowed_origins_get_what_their_browsers_need(model_path: Path, image: Callable[..., bytes]) -> None:
    with _app(model_path, image, allowed_origins=("https://c.example",)) as client:
        own = {"origin": "https://c.example"}
        asked = own | {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        preflight = client.options("/v1/classify", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://c.example"
        assert preflight.headers["x-content-type-options"] == "nosniff"
        for content, status in ((image(), 200), (b"no image at all", 422)):
            answer = client.post("/v1/classify", content=content, headers={"content-type": "image/jpeg"} | own)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://c.example"
        assert client.post("/v1/classify", content=image(), headers={"origin": "https://d.example"}).status_code == 403


def test_request_ids() -> None:
    from kigraph.serve.front import sane_id

    for given in (b"a", b"A-1.b_c:9", b"x" * 64):
        assert sane_id(given) == given.decode()
    for given in (None, b"", b"x" * 65, b"a b", b"a\nb", b"\xff", b'"', b"<b>"):
        assert sane_id(given) != (given or b"").decode("latin-1")
        assert len(sane_id(given)) == 16


def test_a_model_without_labels_says_so(model_path: Path) -> None:
    from kigraph.serve.models import model_identity

    model = ki.load(model_path, backend="numpy")
    assert model_identity(model)["labelled"] is True
    assert len(model_identity(model)["id"]) == 12
    model.labels = None
    assert model_identity(model, version="7") == {
        "name": model_path.name, "version": "7", "id": model_identity(model)["id"], "labelled": False,
        "precision": "fp32",
    }  # fmt: skip


def test_the_estimate_follows_and_allows_for_spread() -> None:
    from kigraph.serve.engine import Estimate

    rng = random.Random(process_seed())
    steady, spread = Estimate(1.0), Estimate(1.0)
    for _ in range(300):
        steady.add(0.1)
        spread.add(rng.choice([0.0, 0.2]))
    assert steady.total(10) == pytest.approx(1.0, rel=0.01)
    assert spread.total(10) > spread.mean * 10 + 0.3


def test_images_that_are_coming_count_as_if_they_waited() -> None:
    from kigraph.serve.engine import Engine
    from kigraph.serve.errors import Refused

    engine = Engine(lambda data: None, queue_size=2, queue_bytes=1000)
    engine.estimate.reset(0.1)
    engine.estimate.deviation = 0.0
    assert engine.refusal(100, 1.0) is None
    with engine.coming(100, 1.0):
        assert engine.refusal(901, 1.0) is not None  # bytes
        late = engine.refusal(100, 0.2)  # two images take 0.2 s, which is more than 80 % of the time
        assert late is not None
        assert (late.status, late.code) == (429, "too_slow")
        assert engine.refusal(100, 0.26) is None
        with engine.coming(100, 1.0):
            full = engine.refusal(100, 1.0)
            assert full is not None
            assert full.code == "queue_full"
            with pytest.raises(Refused), engine.coming(100, 1.0):
                pass
    assert engine.refusal(1000, 1.0) is None
    engine.drain()
    assert engine.refusal(1, 1.0).status == 503  # type: ignore[union-attr]


def test_a_flood_of_refusals_leaves_the_workers_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.serve import engine as module

    slept: list[float] = []
    worked = 0.0
    monkeypatch.setattr(module.time, "sleep", slept.append)
    monkeypatch.setattr(module.time, "thread_time", lambda: worked)
    engine = module.Engine(lambda data: None)
    engine.estimate.reset(0.004)

    async def flood(refusals: int, seconds: float) -> list[float]:
        nonlocal worked
        slept.clear()
        for _ in range(refusals):
            engine.give_way()
            worked += seconds
        await asyncio.sleep(0.02)
        return list(slept)

    assert asyncio.run(flood(5, 1e-4)) == []  # nobody works: nothing to give way to
    worked, engine._running = 0.0, 1
    # Five that come together: one pause, of a quarter of a job, or of twice the work if that is more.
    assert asyncio.run(flood(5, 1e-5)) == pytest.approx([1e-3])
    assert asyncio.run(flood(5, 2e-4)) == pytest.approx([2e-3])
    # More than 2 ms of work is not gathered: the share of the workers stays, and no pause takes more than 20 ms.
    engine.estimate.reset(5.0)
    assert asyncio.run(flood(5, 2.5e-3)) == pytest.approx([5e-3] * 4)
    assert asyncio.run(flood(2, 0.05)) == pytest.approx([5e-3, 0.02])
    worked = engine._worked
    assert asyncio.run(flood(2, 1e-5)) == pytest.approx([0.02])


def test_a_slow_upload_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from kigraph.serve import uploads
    from kigraph.serve.bodies import Body
    from kigraph.serve.errors import Refused

    monkeypatch.setattr(uploads, "_SECONDS", 0.05)

    async def upload(places: Any, body: Any, ended: list[str]) -> None:
        with places.one(body) as deadline:
            try:
                async with deadline:
                    await asyncio.sleep(30)
            except TimeoutError:
                ended.append(body.name)

    async def run() -> list[str]:
        places, ended = uploads.Uploads(2), []
        quick = Body("image/png", "", "quick", 1000, bytearray(100_000))
        slow = Body("image/png", "", "slow", 1000, bytearray(10))
        tasks = [asyncio.create_task(upload(places, body, ended)) for body in (quick, slow)]
        await asyncio.sleep(0)
        with pytest.raises(Refused), places.one(quick):
            pass
        await asyncio.sleep(0.1)
        with places.one(quick):
            assert len(places) == 2
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        return ended

    assert asyncio.run(run()) == ["slow"]


def test_only_a_want_of_places_ends_a_slow_upload(model_path: Path, image: Callable[..., bytes]) -> None:
    with _app(model_path, image, queue_size=2) as client:
        service = client.app.state.service
        service.engine.estimate.reset(0.1)
        ended: list[bool] = []
        service.uploads.end_a_slow_one = lambda: ended.append(True)
        short = {b"x-request-timeout": b"0.0001", b"content-length": b"10"}
        assert service.refusal(short).code == "too_slow"
        assert service.refusal({b"x-request-timeout": b"-1"}).status == 400
        assert ended == []
        with service.engine.coming(10, 15.0), service.engine.coming(10, 15.0):
            assert service.refusal({b"content-length": b"10"}).code == "queue_full"
            assert ended == [True]
        service.engine._waiting = 2  # no upload is in the way of anybody
        assert service.refusal({b"content-length": b"10"}).code == "queue_full"
        service.engine._waiting = 0
        service.engine.drain()
        assert service.refusal({}).code == "draining"
        assert ended == [True]


def test_places_of_bodies_without_a_length_grow() -> None:
    from kigraph.serve.engine import Engine
    from kigraph.serve.errors import Refused

    engine = Engine(lambda data: None, queue_bytes=1000)
    engine.estimate.reset(0.1)
    with engine.coming(100, 15.0) as first, engine.coming(100, 15.0) as second:
        first.grow(50)
        first.grow(900)
        with pytest.raises(Refused, match="429 queue_full"):
            second.grow(101)
        assert engine.refusal(1, 15.0) is not None
    with engine.coming(1000, 15.0):
        pass


def test_those_who_would_be_answered_too_late_are_told_early() -> None:
    import time

    from kigraph.serve.engine import Engine
    from kigraph.serve.errors import Refused

    engine = Engine(lambda data: time.sleep(data), queue_size=100)
    engine.estimate.reset(0.001)
    said: list[tuple[int, float]] = []

    async def ask(seconds: float, start: float) -> None:
        try:
            await engine.result(engine.submit(seconds, 1, 3.0))
            said.append((200, time.monotonic() - start))
        except Refused as refused:
            said.append((refused.status, time.monotonic() - start))
            assert int(refused.headers["Retry-After"]) >= 1

    async def run() -> None:
        engine.start()
        await asyncio.gather(*(ask(0.15, time.monotonic()) for _ in range(60)))

    asyncio.run(run())
    assert engine.stop(5.0)
    assert {status for status, _ in said} <= {200, 429}
    assert sum(status == 200 for status, _ in said) > 8  # 20 where nothing else runs
    assert min(at for status, at in said if status == 429) < 2.0


def test_a_heavy_image_in_work_counts_for_those_behind_it() -> None:
    import time

    from kigraph.serve.engine import Engine, Job

    engine = Engine(lambda data: None)
    engine.estimate.reset(0.01)
    engine._waiting = 20
    assert engine.refusal(1, 5.0) is None
    loop = asyncio.new_event_loop()
    job = Job(None, 1, loop, loop.create_future(), 0.0, started=time.monotonic() - 1.0)
    engine._now.add(job)
    assert engine.refusal(1, 5.0).code == "too_slow"  # type: ignore[union-attr]
    loop.close()


def test_a_chunked_body_takes_the_place_of_its_bytes(model_path: Path, image: Callable[..., bytes]) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(1 << 16)

    with _app(model_path, image, queue_bytes=3 << 19) as client:
        answer = client.post("/v1/classify", content=pieces(), headers={"content-type": "image/jpeg"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
        assert answer.headers["connection"] == "close"
        assert client.post("/v1/classify", content=image()).status_code == 200


def test_a_stalled_or_closed_reader_of_the_log_holds_up_nobody() -> None:
    import os
    import time

    from kigraph.serve.requestlog import RequestLog, access_log

    for closed in (False, True):
        reader, writer = os.pipe()
        if closed:
            os.close(reader)
        start = time.monotonic()
        with access_log("text", writer, lines=100) as handler:
            for _ in range(5000):
                RequestLog("text", "m").line("id", "GET", "/" + "x" * 180, 200, 1, 0.1)
            assert time.monotonic() - start < 20
            assert closed or (handler is not None and handler.dropped > 0)
        if not closed:
            os.close(reader)


@pytest.mark.parametrize("name", ["a:80", "http://a", "::1", "a/b", "*a", "a.*", "u@a", "*.*.a", "*."])
def test_hosts_that_never_match_are_refused(name: str) -> None:
    from kigraph.kernels.settings import SERVE

    hosts, origins = (next(s for s in SERVE if s.name.endswith(end)) for end in ("ALLOWED_HOSTS", "ALLOWED_ORIGINS"))
    with pytest.raises(ValueError, match="expected names"):
        hosts.parse(name)
    assert hosts.parse("[::1],*.b.example,*") == ("[::1]", "*.b.example", "*")
    for origin in ("https://*.a", "https://u@a", "http://a:80", "https://a:443", "https://a/", "https://::1", "a"):
        with pytest.raises(ValueError, match="expected origins"):
            origins.parse(origin)
    assert origins.parse("https://a:8443,http://[::1]:80803"[:-1]) == ("https://a:8443", "http://[::1]:8080")
