"""The description of the service at /openapi.json (OpenAPI 3.1).

By hand: a generator reads typed parameters and bodies, and these routes read a body themselves, within their limits.
tests/serve/test_openapi.py holds it against the routes, the parameters that are read, and real answers of every status.
"""

from __future__ import annotations

from typing import Any

from .openapi_schemas import SCHEMAS
from .options import Options

__all__ = ["openapi"]

_DESCRIPTION = (
    "Classifies images. A path or a method that is not listed is answered 404 or 405, a request that is not proper HTTP 400, "
    "408 or 431, all in the form of the schema Error."
)
#: Errors of every route, and those of a request with an image.
_ANY = {
    "400": "the request is malformed",
    "403": "the Host is not served, or a page of another site sent this",
    "500": "an internal error; the message has the id under which the service's log says more",
}
_IMAGE = {
    "404": "there is no such model, or it is not loaded",
    "408": "the image did not arrive in time",
    "413": "the image has too many bytes",
    "415": "unknown content type; the header Accept lists the known ones",
    "422": "an image cannot be decoded or is too large, there are too many, or the network cannot be computed for the inputs",
    "429": "the answer would not be there in time; see Retry-After",
    "503": "the service is shutting down; see Retry-After",
    "504": "not classified in time",
}
_TEXT = {"schema": {"type": "string"}}
_ID = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
_RETRY = {"required": True, "description": "seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}


def openapi(options: Options) -> dict[str, Any]:
    """The document as plain data."""
    from .. import __version__

    plain = {"text/plain": _TEXT}
    document = {"application/json": {"schema": {"type": "object"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "kigraph", "version": __version__, "description": _DESCRIPTION},
        "paths": {
            "/": _get("page", "a page that classifies images", {"text/html": _TEXT}),
            "/v1/classify": {"post": _classify("classify", options)},
            "/recognize": {"post": _classify("recognize", options)},
            "/v1/models": _get("models", "the models that are loaded, or may be", _json("ModelList")),
            **_tfs(options),
            **_oip(options),
            "/livez": _get("live", "the process is alive", plain),
            "/readyz": _get(
                "ready", "the model has classified an image, and which model it is", plain,
                {"503": _answer("not ready, and why", plain)},
            ),
            "/metrics": _get("metrics", "metrics for Prometheus", plain),
            "/openapi.json": _get("openapi", "this document", document),
        },
        "components": {"schemas": SCHEMAS, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _answer(what: str, content: dict[str, Any], **headers: Any) -> dict[str, Any]:
    number = {"required": True, "description": "the client's own if that fits", "schema": _ID}
    return {"description": what, "headers": {"X-Request-Id": number, **headers}, "content": content}


def _json(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _errors(table: dict[str, str], schema: str = "Error") -> dict[str, Any]:
    content = _json(schema)
    return {
        code: _answer(what, content, **({"Retry-After": _RETRY} if code in ("429", "503") else {}))
        for code, what in table.items()
    }


def _parameter(name: str, place: str, what: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "description": what, "schema": schema}


_NUMBER = _parameter("X-Request-Id", "header", "an id for the answer and the log", _ID)


def _get(operation: str, what: str, content: dict[str, Any], others: dict[str, Any] | None = None) -> dict[str, Any]:
    answers = {"200": _answer(what, content), **_errors(_ANY), **(others or {})}
    return {"get": {"operationId": operation, "summary": what, "parameters": [_NUMBER], "responses": answers}}


def _classify(operation: str, options: Options) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary", "maxLength": options.max_image_bytes}}
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {
            "image": file | {"description": "may come several times; then the answer is a list"},
            "file": file | {"description": "the same, if there is no image"},
            "images": {"type": "array", "items": file, "description": "the answer is a list"},
        },
    }
    top = {"type": "integer", "minimum": 1, "maximum": 1000, "default": options.top}
    seconds = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1_000_000, "default": options.timeout}
    refs = [{"$ref": f"#/components/schemas/{name}"} for name in ("Prediction", "Predictions")]
    labels = {"application/json": {"schema": {"anyOf": refs}}}
    return {
        "operationId": operation,
        "summary": "The most probable labels of an image, best first, or of several images",
        "parameters": [
            _parameter("top", "query", "how many labels", top),
            _parameter("filename", "query", "the name of an image that is the body", {"type": "string"}),
            _parameter("model", "query", "the name of a model; default: the first", {"type": "string"}),
            _parameter("version", "query", "its version; default: the latest that is loaded", {"type": "string"}),
            _parameter("X-Request-Timeout", "header", "seconds that the answer is worth waiting for", seconds),
            _NUMBER,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": binary,
                "application/octet-stream": binary,
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": {"$ref": "#/components/schemas/EncodedImages"}},
            },
        },
        "responses": {
            "200": _answer("labels in descending order of probability", labels),
            **_errors(_ANY | _IMAGE),
        },
    }


_NAMED = {"404": "there is no such model, or it is not loaded"}
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
}
_VERSION = _NAME | {"name": "version"}


def _both(path: str, tail: str, operation: str, method: str, made: Any) -> dict[str, Any]:
    """A route of a model, and the same with a version. made: (operation, its path parameters) -> what is described."""
    return {
        f"{path}/{{name}}{tail}": {method: made(operation, [_NAME])},
        f"{path}/{{name}}/versions/{{version}}{tail}": {method: made(f"{operation}Version", [_NAME, _VERSION])},
    }


def _read(what: str, schema: str | None, more: dict[str, str]) -> Any:
    content = _json(schema) if schema else {"application/json": {"schema": {"type": "object"}}}

    def made(operation: str, parameters: list[Any]) -> dict[str, Any]:
        answers = {"200": _answer(what, content), **_errors(_ANY | more, "ProtocolError")}
        return {"operationId": operation, "summary": what, "parameters": [*parameters, _NUMBER], "responses": answers}

    return made


def _sent(what: str, request: str, answer: dict[str, Any], options: Options, more: list[Any]) -> Any:
    seconds = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1_000_000, "default": options.timeout}
    timeout = _parameter("X-Request-Timeout", "header", "seconds that the answer is worth waiting for", seconds)

    def made(operation: str, parameters: list[Any]) -> dict[str, Any]:
        answers = {"200": _answer(what, answer), **_errors(_ANY | _IMAGE, "ProtocolError")}
        return {
            "operationId": operation, "summary": what, "parameters": [*parameters, *more, timeout, _NUMBER],
            "requestBody": {"required": True, "content": _json(request)}, "responses": answers,
        }  # fmt: skip

    return made


def _tfs(options: Options) -> dict[str, Any]:
    """TensorFlow Serving's routes."""
    top = {"type": "integer", "minimum": 1, "maximum": 1000, "default": options.top}
    number = _parameter("top", "query", "how many labels", top)
    path = "/v1/models"
    return {
        **_both(path, "", "tfsStatus", "get", _read("states of a model's versions (TensorFlow Serving)", None, _NAMED)),
        **_both(
            path,
            "/metadata",
            "tfsMetadata",
            "get",
            _read("signatures of a model (TensorFlow Serving)", None, _NAMED | _NO_TENSORS),
        ),
        **_both(
            path,
            ":predict",
            "tfsPredict",
            "post",
            _sent("raw outputs (TensorFlow Serving)", "Predict", _json("Predicted"), options, []),
        ),
        **_both(
            path,
            ":classify",
            "tfsClassify",
            "post",
            _sent("labels (TensorFlow Serving)", "Classify", _json("Classified"), options, [number]),
        ),
    }


_NO_TENSORS = {"422": "the model has no tensors to call it with"}
_NOT_READY = {"503": "not ready, and why; see Retry-After"}
_ADMIN = {"401": "without the token"}


def _oip(options: Options) -> dict[str, Any]:
    """The routes of the Open Inference Protocol, and those of the model repository."""
    header = _parameter(
        "Inference-Header-Content-Length", "header", "bytes of the JSON part, if binary tensors follow it",
        {"type": "string", "pattern": "^[0-9]{1,12}$"},
    )  # fmt: skip
    answer = _json("Inferred") | {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    path = "/v2/models"

    def plain(operation: str, what: str, more: dict[str, str]) -> dict[str, Any]:
        return {"get": _read(what, None, more)(operation, [])}

    def admin(
        operation: str, what: str, more: dict[str, str], parameters: list[Any], kind: str = "object"
    ) -> dict[str, Any]:
        described = _read(what, None, _ADMIN | more)(operation, parameters)
        described["responses"]["200"]["content"] = {"application/json": {"schema": {"type": kind}}}
        described["responses"]["401"]["headers"]["WWW-Authenticate"] = {"required": True, "schema": {"type": "string"}}
        return {"post": described | {"security": [{"token": []}]}}

    change = _NAMED | {"409": "the model was not loaded; see the service's log"}
    return {
        "/v2": plain("oipServer", "name, version, extensions (Open Inference Protocol)", {}),
        "/v2/health/live": plain("oipLive", "the process is alive", {}),
        "/v2/health/ready": plain("oipReady", "every model has classified an image", _NOT_READY),
        **_both(
            path,
            "/ready",
            "oipModelReady",
            "get",
            _read("the model has classified an image", None, _NAMED | _NOT_READY),
        ),
        **_both(
            path,
            "/infer",
            "oipInfer",
            "post",
            _sent("outputs of a model (Open Inference Protocol)", "Infer", answer, options, [header]),
        ),
        **_both(
            path,
            "",
            "oipMetadata",
            "get",
            _read("inputs and outputs of a model (Open Inference Protocol)", None, _NAMED | _NO_TENSORS),
        ),
        "/v2/repository/index": admin("repositoryIndex", "models that are loaded, or may be", {}, [], "array"),
        "/v2/repository/models/{name}/load": admin("repositoryLoad", "loads a model that is listed", change, [_NAME]),
        "/v2/repository/models/{name}/unload": admin("repositoryUnload", "takes a model away", _NAMED, [_NAME]),
    }
