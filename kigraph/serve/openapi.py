"""The description of the service at /openapi.json (OpenAPI 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import Options

__all__ = ["openapi"]

_ERRORS = {
    "400": "the request is malformed",
    "403": "the Host is not served, or a page of another site sent this",
    "408": "the image did not arrive in time",
    "413": "the image has too many bytes",
    "415": "unknown content type; the header Accept lists the known ones",
    "422": "the body is not an image that can be decoded, or the image has too many pixels",
    "429": "the answer would not be there in time; see Retry-After",
    "503": "the service is starting or shutting down",
    "504": "not classified in time",
}


def openapi(options: Options) -> dict[str, Any]:
    """The document as plain data."""
    from .. import __version__

    return {
        "openapi": "3.1.0",
        "info": {"title": "kigraph", "version": __version__, "description": "Classifies images."},
        "paths": {
            "/v1/classify": {"post": _classify("classify", options)},
            "/recognize": {"post": _classify("recognize", options)},
            "/livez": {"get": _text("the process is alive")},
            "/readyz": {"get": _text("the model has classified an image, and which model it is", "503")},
            "/metrics": {"get": _text("metrics for Prometheus")},
        },
        "components": {"schemas": _SCHEMAS},
    }


def _text(summary: str, *others: str) -> dict[str, Any]:
    answers = {"200": {"description": summary}}
    return {"summary": summary, "responses": answers | {c: {"description": _ERRORS[c]} for c in others}}


def _classify(operation: str, options: Options) -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary", "maxLength": options.max_image_bytes}}
    file = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "properties": {"image": file, "file": file | {"description": "the same, if there is no image"}},
    }
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "operationId": operation,
        "summary": "The most probable labels of an image, best first",
        "parameters": [
            {
                "name": "top", "in": "query", "description": "how many labels",
                "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": options.top},
            },
            {
                "name": "X-Request-Timeout", "in": "header", "description": "seconds that the answer is worth waiting for",
                "schema": {"type": "number", "exclusiveMinimum": 0, "default": options.timeout},
            },
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
            "200": {
                "description": "labels in descending order of probability",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}}},
            },
            **{code: {"description": text, "content": error} for code, text in _ERRORS.items()},
        },
    }  # fmt: skip


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
        "required": ["label", "probability"],
        "properties": {"label": {"type": "string"}, "probability": {"type": "number", "minimum": 0, "maximum": 1}},
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
