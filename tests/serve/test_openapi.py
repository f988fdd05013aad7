"""/openapi.json is true: its routes, parameters and request bodies are those of the service, and so is every answer."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from .schema_check import SchemaError, check, matching
from .test_app import PIXEL, SlowModel, _posted, _until

starlette_testclient = pytest.importorskip("starlette.testclient")
Image = Callable[..., bytes]
JPEG = {"content-type": "image/jpeg"}


class Model(SlowModel):
    """Remembers how many labels it was asked for, and gives as many."""

    top = 0

    def classify(self, data: bytes, top: int = 5) -> Any:
        from kigraph.classifier import Prediction

        self.top = top
        (label,) = super().classify(data, top).labels
        return Prediction("x", (label, replace(label, index=1, synset="n02121808"), *(label,) * 998)[:top])


def open_client(model: Any, image: Image, **options: Any) -> Any:
    from kigraph.serve.app import Options, create_app

    return starlette_testclient.TestClient(
        create_app(model, image(), Options(allowed_hosts=("testserver",), max_image_bytes=1 << 16, **options)),
        raise_server_exceptions=False,
    )


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def client(model: Model, image: Image) -> Iterator[Any]:
    with open_client(model, image, top=7) as opened:
        yield opened


def document_of(client: Any) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def validate(document: dict[str, Any], method: str, path: str, answer: Any) -> str:
    """Checks an answer's status, headers, media type and body; returns the status."""
    status = str(answer.status_code)
    responses = document["paths"][path][method.lower()]["responses"]
    assert status in responses, f"{method} {path} answered {status}, which is not described: {answer.text}"
    described = responses[status]
    for name, header in described["headers"].items():
        assert name in answer.headers or not header.get("required"), f"{method} {path} {status} without {name}"
        check(answer.headers[name], header["schema"], document, name)
    kind = answer.headers["content-type"].partition(";")[0]
    schema = matching(described["content"], kind)["schema"]
    check(answer.json() if kind == "application/json" else answer.text, schema, document)
    return status


def test_the_routes_are_those_of_the_application(client: Any) -> None:
    paths = document_of(client)["paths"]
    routes = {(r.path, m.lower()) for r in client.app.routes for m in r.methods if m != "HEAD"}
    assert {(path, method) for path, methods in paths.items() for method in methods} == routes
    operations = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(operations)) == len(operations)


def test_every_get_answers_as_described(client: Any, image: Image) -> None:
    document = document_of(client)
    gets = [path for path, methods in document["paths"].items() if "get" in methods]
    for path in gets:
        here = path.replace("{name}", "slow").replace("{version}", "1")
        # The stand-in for a model has no tensors to describe.
        tensors = "metadata" in path or path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
        assert validate(document, "GET", path, client.get(here)) == ("422" if tensors else "200")
        assert validate(document, "GET", path, client.get(here, headers={"host": "other.example"})) == "403"
        if here != path:
            other = path.replace("{name}", "none").replace("{version}", "1")
            assert validate(document, "GET", path, client.get(other)) == "404"
    client.app.state.service.engine.drain()
    assert validate(document, "GET", "/readyz", client.get("/readyz")) == "503"


def test_any_route_that_fails_says_so_as_described(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    document = document_of(client)
    service = client.app.state.service
    monkeypatch.setattr(service.metrics, "text", lambda: 1 / 0)
    assert validate(document, "GET", "/metrics", client.get("/metrics")) == "500"


def test_what_is_no_route_has_the_form_of_errors(client: Any) -> None:
    document = document_of(client)
    error = document["components"]["schemas"]["Error"]
    for method, path, status in (("GET", "/nothing", 404), ("DELETE", "/livez", 405), ("GET", "/v1/classify", 405)):
        answer = client.request(method, path)
        assert answer.status_code == status
        check(answer.json(), error, document)


class Statuses:
    """Makes the service give every answer that it can to an image; each method is one status."""

    def __init__(self, client: Any, model: Model, path: str) -> None:
        self.client, self.model, self.path = client, model, path

    def post(self, content: Any = PIXEL, **request: Any) -> Any:
        return self.client.post(self.path, content=content, **request)

    def of_200(self) -> Any:
        return self.post(headers=JPEG)

    def of_400(self) -> Any:
        return self.post(params={"top": "0"})

    def of_403(self) -> Any:
        return self.post(headers={"origin": "https://other.example"})

    def of_404(self) -> Any:
        return self.post(params={"model": "none"})

    def of_408(self) -> Any:
        """A body that never comes, told to the application without the client, which sends all at once."""
        answer: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(60)

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {
            "type": "http", "method": "POST", "path": self.path, "query_string": b"", "app": self.client.app,
            "headers": [(b"content-type", b"image/png"), (b"content-length", b"3000")],
        }  # fmt: skip
        self.client.app.state.service.options = self.client.app.state.service.options.__class__(timeout=0.2)
        asyncio.run(self.client.app(scope, receive, send))
        start, body = answer
        import httpx

        return httpx.Response(start["status"], headers=start["headers"], content=body["body"])

    def of_413(self) -> Any:
        return self.post(bytes(1 << 18))

    def of_415(self) -> Any:
        return self.post(headers={"content-type": "text/plain"})

    def of_422(self) -> Any:
        return self.post(b"no image")

    def of_429(self) -> Any:
        self.model.gate.clear()
        threads, statuses = _posted(self.client, 3)
        _until(lambda: self.client.app.state.service.engine.depth == 3)
        answer = self.post()
        self.release(threads, statuses)
        return answer

    def release(self, threads: list[threading.Thread], statuses: list[int]) -> None:
        self.model.gate.set()
        for thread in threads:
            thread.join()
        assert statuses == [200] * len(threads)

    def of_500(self) -> Any:
        self.model.broken = True
        return self.post()

    def of_503(self) -> Any:
        self.client.app.state.service.engine.drain()
        return self.post()

    def of_504(self) -> Any:
        self.model.gate.clear()
        self.client.app.state.service.engine.estimate.reset(0.01)  # or a slow machine refuses it at once: 429
        answer = self.post(headers={"x-request-timeout": "0.3"})
        self.model.gate.set()
        return answer


STATUSES = sorted(name.removeprefix("of_") for name in vars(Statuses) if name.startswith("of_"))


@pytest.mark.parametrize("path", ["/v1/classify", "/recognize"])
@pytest.mark.parametrize("status", STATUSES)
def test_every_answer_to_an_image_is_as_described(image: Image, status: str, path: str) -> None:
    model = Model()
    with open_client(model, image, queue_size=2) as client:
        document = document_of(client)
        assert sorted(document["paths"][path]["post"]["responses"]) == STATUSES
        answer = getattr(Statuses(client, model, path), f"of_{status}")()
        assert validate(document, "POST", path, answer) == status


def test_a_networks_answer_is_as_described(model_path: Path, image: Image) -> None:
    import kigraph as ki

    with open_client(ki.load(model_path, backend="numpy"), image) as client:
        answer = client.post("/v1/classify", content=image(), params={"filename": "a.jpg"})
        assert validate(document_of(client), "POST", "/v1/classify", answer) == "200"
        assert len(answer.json()["model"]["id"]) == 12


def test_the_parameters_are_those_that_are_read(client: Any, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.datastructures import QueryParams

    read: set[str] = set()
    plain = QueryParams.get

    def get(self: Any, key: Any, default: Any = None) -> Any:
        read.add(key)
        return plain(self, key, default)

    monkeypatch.setattr(QueryParams, "get", get)
    document = document_of(client)
    parameters = {p["name"]: p for p in document["paths"]["/v1/classify"]["post"]["parameters"]}
    assert document["paths"]["/recognize"]["post"]["parameters"] == [*parameters.values()]

    def send(**request: Any) -> Any:
        return client.post("/v1/classify", content=PIXEL, **request)

    top, seconds = parameters["top"]["schema"], parameters["X-Request-Timeout"]["schema"]
    assert send().status_code == 200
    assert model.top == top["default"] == 7
    for count in (top["minimum"], top["maximum"]):
        assert len(send(params={"top": count}).json()["labels"]) == count
    assert send(params={"top": top["minimum"] - 1}).status_code == 400
    assert send(params={"top": top["maximum"] + 1}).status_code == 400
    assert seconds["default"] == client.app.state.service.options.timeout
    for limit in ("exclusiveMinimum", "exclusiveMaximum"):
        assert send(headers={"x-request-timeout": str(seconds[limit])}).status_code == 400
    assert send(headers={"x-request-timeout": str(seconds["exclusiveMaximum"] - 1)}).status_code == 200
    assert send(params={"filename": "cat.png"}).json()["filename"] == "cat.png"
    assert send(headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert read == {p["name"] for p in parameters.values() if p["in"] == "query"}
    assert {p["name"] for p in parameters.values() if p["in"] == "header"} == {"X-Request-Timeout", "X-Request-Id"}


def test_the_bodies_are_those_that_are_read(client: Any) -> None:
    document = document_of(client)
    content = document["paths"]["/v1/classify"]["post"]["requestBody"]["content"]
    assert content == document["paths"]["/recognize"]["post"]["requestBody"]["content"]
    text = {"image": base64.b64encode(PIXEL).decode(), "filename": "a.png"}
    check(text, content["application/json"]["schema"], document)
    fields = content["multipart/form-data"]["schema"]["properties"]
    sent = [
        *({"content": PIXEL, "headers": {"content-type": kind}} for kind in ("image/png", "application/octet-stream")),
        *({"files": {field: ("a.png", PIXEL)}} for field in fields),
        {"json": text},
    ]
    seen = set()
    for request in sent:
        answer = client.post("/v1/classify", **request)
        assert answer.status_code == 200, answer.text
        kind = answer.request.headers["content-type"].partition(";")[0]
        seen.add(next(name for name, entry in content.items() if entry is matching(content, kind)))
    assert seen == set(content)
    largest = content["image/*"]["schema"]["maxLength"]
    assert client.post("/v1/classify", content=PIXEL + bytes(largest - len(PIXEL))).status_code != 413
    assert client.post("/v1/classify", content=PIXEL + bytes(largest + 1 - len(PIXEL))).status_code == 413


@pytest.mark.parametrize(
    ("value", "schema", "message"),
    [
        ({}, {"type": "object", "required": ["a"]}, r"\$: without \['a'\]"),
        ({"b": 1}, {"type": "object", "properties": {}}, r"\['b'\] are not in the schema"),
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, r"\$\[1\]: 'x' is no integer"),
        (True, {"type": "integer"}, "True is no integer"),
        (True, {"type": ["string", "null"]}, "True is no string or null"),
        (1.5, {"type": "number", "maximum": 1}, "against maximum 1"),
        (0, {"type": "number", "exclusiveMinimum": 0}, "against exclusiveMinimum 0"),
        ("a b", {"type": "string", "pattern": "^[a-z]$"}, "against pattern"),
        ("x", {"type": "string", "not": {}}, "keywords that this check lacks"),
        ("x", {"type": "string", "enum": ["y"]}, "against enum"),
        ("x", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "no integer and .*no null"),
        (1, {"$ref": "#/named"}, "1 is no string"),
    ],
)
def test_the_check_finds_what_is_wrong(value: Any, schema: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(value, schema, {"named": {"type": "string"}})
    with pytest.raises(SchemaError, match=r"text/html is none of image/\*"):
        matching({"image/*": {}}, "text/html")
