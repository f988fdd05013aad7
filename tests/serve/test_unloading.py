"""Requests that meet a model which is being unloaded, replaced or loaded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kigraph as ki
from kigraph.serve.app import Options, create_app
from kigraph.serve.engine import Engine
from kigraph.serve.errors import Refused
from kigraph.serve.model_list import ModelSpec
from kigraph.serve.quick import Quick

testclient = pytest.importorskip("starlette.testclient", reason="needs the extra serve")

TOKEN = "t" * 32
ADMIN = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(model_path: Path, image: Callable[..., bytes]) -> Any:
    spec = ModelSpec("one", model_path)
    options = Options(admin_token=TOKEN, batch=1)
    app = create_app([(spec, ki.load(model_path, backend="numpy"))], image(), options, [spec])
    with testclient.TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@pytest.mark.parametrize(("retired", "code"), [(True, "model_changed"), (False, "draining")])
def test_a_body_that_arrives_after_the_workers_went_is_refused_at_once(retired: bool, code: str) -> None:
    async def late() -> None:
        engine = Engine(lambda data: data)
        engine.start()
        with engine.coming(1, 10.0):  # its place was taken before
            if retired:
                engine.retire()
            assert await asyncio.to_thread(engine.stop, 5.0)
            with pytest.raises(Refused) as caught:
                engine.submit(b"x", 1, 10.0)
        assert (caught.value.status, caught.value.code) == (503, code)
        assert engine.depth == 0

    asyncio.run(late())


def test_a_request_to_a_model_that_goes_is_not_told_that_the_service_ends(client: Any) -> None:
    models = client.app.state.service.models
    engine = models.default.engine
    with engine.coming(1, 10.0):
        assert client.post("/v2/repository/models/one/unload", headers=ADMIN).status_code == 200
    assert engine.refusal(1, 10.0).code == "model_changed"  # not that the service shuts down
    assert "Connection" not in engine.refusal(1, 10.0).headers


def test_a_full_queue_of_a_default_model_that_is_gone(client: Any) -> None:
    service = client.app.state.service
    service.pressed = time.monotonic() + 60
    assert client.post("/v2/repository/models/one/unload", headers=ADMIN).status_code == 200
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nxxxxx"
    assert Quick(service)(head) is None  # and the route says 404
    assert client.post("/v1/classify", content=b"xxxxx").json()["error"]["code"] == "not_loaded"


def test_an_unexpected_error_does_not_leave_a_model_loading(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    models = client.app.state.service.models
    assert client.post("/v2/repository/models/one/unload", headers=ADMIN).status_code == 200

    def broken(spec: Any) -> Any:
        raise ValueError("an error of a library")

    with monkeypatch.context() as patch:
        patch.setattr(models, "_make", broken)
        answer = client.post("/v2/repository/models/one/load", headers=ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (409, "load_failed")
    assert [(state, reason) for _, _, state, reason in models.listed] == [
        ("UNAVAILABLE", "loading failed; see the service's log")
    ]
    assert client.post("/v2/repository/models/one/load", headers=ADMIN).status_code == 200


def test_a_model_that_was_loading_when_the_service_drains_takes_nothing(client: Any) -> None:
    models, make = client.app.state.service.models, client.app.state.service.models._make

    def draining_meanwhile(spec: Any) -> Any:
        made = make(spec)
        client.app.state.service.drain()
        return made

    models._make = draining_meanwhile
    client.post("/v2/repository/models/one/load", headers=ADMIN)
    assert models.default.engine.draining
    assert client.get("/readyz").status_code == 503
