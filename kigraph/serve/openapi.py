"""The description of the service at /openapi.json (OpenAPI 3.1).

By hand: a generator reads typed parameters and bodies, and these routes read a body themselves, within their limits.
tests/serve/test_openapi.py holds it against the routes, the parameters that are read, and real answers of every status.
"""

from __future__ import annotations

from typing import Any

from .options import Options

__all__ = ["openapi"]

_DESCRIPTION = (
    "Classifies images. A path or a method that is not listed is answered 404 or 405, a request that is not proper HTTP 400, "
    "408 or 431, all in the form of the schema Error."
)
#: Errors of every route, and those of a request with an image.
_ANY = {
    "403": "the Host is not served, or a page of another site sent this",
    "500": "an internal error; the message has the id under which the service's log says more",
}
_IMAGE = {
    "400": "the request is malformed",
    "408": "the image did not arrive in time",
    "413": "the image has too many bytes",
    "415": "unknown content type; the header Accept lists the known ones",
    "422": "the body is not an image that can be decoded, or the image has too many pixels",
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
            "/livez": _get("live", "the process is alive", plain),
            "/readyz": _get(
                "ready", "the model has classified an image, and which model it is", plain,
                {"503": _answer("not ready, and why", plain)},
            ),
            "/metrics": _get("metrics", "metrics for Prometheus", plain),
            "/openapi.json": _get("openapi", "this document", document),
        },
        "components": {"schemas": _SCHEMAS},
    }  # fmt: skip


def _answer(what: str, content: dict[str, Any], **headers: Any) -> dict[str, Any]:
    number = {"required": True, "description": "the client's own if that fits", "schema": _ID}
    return {"description": what, "headers": {"X-Request-Id": number, **headers}, "content": content}


def _errors(table: dict[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
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
        "properties": {"image": file, "file": file | {"description": "the same, if there is no image"}},
    }
    top = {"type": "integer", "minimum": 1, "maximum": 1000, "default": options.top}
    seconds = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1_000_000, "default": options.timeout}
    labels = {"application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}}}
    return {
        "operationId": operation,
        "summary": "The most probable labels of an image, best first",
        "parameters": [
            _parameter("top", "query", "how many labels", top),
            _parameter("filename", "query", "the name of an image that is the body", {"type": "string"}),
            _parameter("X-Request-Timeout", "header", "seconds that the answer is worth waiting for", seconds),
            _NUMBER,
        ],
        "requestBody": {
            "required": True,
            "content": {
                "image/*": binary,
                "application/octet-stream": binary,
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": {"$ref": "#/components/schemas/EncodedImage"}},
            },
        },
        "responses": {
            "200": _answer("labels in descending order of probability", labels),
            **_errors(_ANY | _IMAGE),
        },
    }


_SCHEMAS: dict[str, Any] = {
    "Prediction": {
        "type": "object",
        "required": ["filename", "labels", "model"],
        "properties": {
            "filename": {"type": "string"},
            "model": {"$ref": "#/components/schemas/Model"},
            "labels": {"type": "array", "items": {"$ref": "#/components/schemas/Label"}},
        },
    },
    "Model": {
        "type": "object",
        "required": ["name", "id", "labelled"],
        "properties": {
            "name": {"type": "string", "description": "the name of the model's file"},
            "id": {
                "type": "string",
                "description": "the beginning of the file's SHA-256; empty if it is no single file",
            },
            "labelled": {"type": "boolean", "description": "false: the labels are only numbers"},
        },
    },
    "Label": {
        "type": "object",
        "required": ["label", "probability", "index", "synset"],
        "properties": {
            "label": {"type": "string"},
            "probability": {"type": "number", "minimum": 0, "maximum": 1},
            "index": {"type": "integer", "minimum": 0, "description": "the number of the model's output"},
            "synset": {"type": ["string", "null"], "description": "WordNet's identifier, if it is known"},
        },
    },
    "EncodedImage": {
        "type": "object",
        "required": ["image"],
        "properties": {
            "image": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "standard or URL-safe, padded or not, with line breaks or without; may be a data URL",
            },
            "filename": {"type": "string"},
        },
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            }
        },
    },
}
