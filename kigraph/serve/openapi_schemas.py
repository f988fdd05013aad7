"""The schemas of the description at /openapi.json."""

from __future__ import annotations

from typing import Any

__all__ = ["SCHEMAS"]


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_BASE64: dict[str, Any] = {
    "type": "string",
    "contentEncoding": "base64",
    "description": "standard or URL-safe, padded or not, with line breaks or without; may be a data URL",
}
SCHEMAS: dict[str, Any] = {
    "Prediction": {
        "type": "object",
        "required": ["filename", "labels", "milliseconds", "model"],
        "properties": {
            "filename": {"type": "string"},
            "model": _ref("Model"),
            "labels": {"type": "array", "items": _ref("Label")},
            "milliseconds": _ref("Milliseconds"),
        },
    },
    "Predictions": {
        "type": "object",
        "required": ["results", "model"],
        "properties": {
            "results": {"type": "array", "items": {"anyOf": [_ref("OfImage"), _ref("NoAnswer")]}},
            "model": _ref("Model"),
        },
    },
    "OfImage": {
        "type": "object",
        "required": ["filename", "labels", "milliseconds"],
        "properties": {
            "filename": {"type": "string"},
            "labels": {"type": "array", "items": _ref("Label")},
            "milliseconds": _ref("Milliseconds"),
        },
    },
    "NoAnswer": {
        "type": "object",
        "required": ["filename", "error", "milliseconds"],
        "properties": {
            "filename": {"type": "string"},
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            },
            "milliseconds": _ref("Milliseconds"),
        },
    },
    "Milliseconds": {
        "type": "object",
        "description": "where the time of the image went",
        "required": ["queue", "decode", "compute"],
        "properties": {name: {"type": "number", "minimum": 0} for name in ("queue", "decode", "compute")},
    },
    "Model": {
        "type": "object",
        "required": ["name", "version", "id", "labelled", "precision"],
        "properties": {
            "name": {"type": "string", "description": "the model's name; that of its file, if it has no other"},
            "version": {"type": "string"},
            "id": {
                "type": "string",
                "description": "the beginning of the file's SHA-256; empty if it is no single file",
            },
            "labelled": {"type": "boolean", "description": "false: the labels are only numbers"},
            "precision": {"type": "string", "description": "in what it multiplied: fp32, bf16, tf32, int8, int8+bf16"},
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
    "EncodedImages": {"anyOf": [_ref("EncodedImage"), _ref("EncodedText"), _ref("ImageList")]},
    "EncodedImage": {
        "type": "object",
        "required": ["image"],
        "properties": {"image": _BASE64, "filename": {"type": "string"}},
    },
    "EncodedText": {
        "type": "object",
        "required": ["b64"],
        "properties": {"b64": _BASE64, "filename": {"type": "string"}},
    },
    "ImageList": {
        "type": "object",
        "required": ["images"],
        "properties": {
            "images": {
                "type": "array",
                "minItems": 1,
                "items": {"anyOf": [_ref("EncodedImage"), _ref("EncodedText"), _BASE64]},
            }
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
    "ProtocolError": {
        "type": "object",
        "required": ["error", "code"],
        "properties": {"error": {"type": "string"}, "code": {"type": "string"}},
    },
    "ModelList": {
        "type": "object",
        "required": ["models"],
        "properties": {"models": {"type": "array", "items": _ref("ListedModel")}},
    },
    "ListedModel": {
        "type": "object",
        "required": ["name", "version", "state", "reason"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "state": {"type": "string", "enum": ["READY", "LOADING", "UNAVAILABLE"]},
            "reason": {"type": "string"},
            "id": {"type": "string"},
            "labelled": {"type": "boolean"},
            "precision": {"type": "string"},
        },
    },
    "Predict": {
        "description": 'TensorFlow Serving\'s request: instances (by row) or inputs (by column); a value may be {"b64": "..."}',
        "anyOf": [
            {
                "type": "object",
                "required": ["instances"],
                "properties": {"instances": {"type": "array", "minItems": 1}, "signature_name": {"type": "string"}},
            },
            {
                "type": "object",
                "required": ["inputs"],
                "properties": {"inputs": {}, "signature_name": {"type": "string"}},
            },
        ],
    },
    "Predicted": {
        "type": "object",
        "properties": {"predictions": {"type": "array"}, "outputs": {}},
    },
    "Classify": {
        "type": "object",
        "required": ["examples"],
        "properties": {
            "examples": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {"image": {"type": "object", "required": ["b64"], "properties": {"b64": _BASE64}}},
                },
            },
            "signature_name": {"type": "string"},
        },
    },
    "Classified": {
        "type": "object",
        "required": ["result"],
        "properties": {
            "result": {
                "type": "array",
                "description": "of each example its pairs [label, probability]",
                "items": {"type": "array"},
            }
        },
    },
    "Infer": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string", "maxLength": 256},
            "parameters": {"type": "object"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "shape", "datatype"],
                    "properties": {
                        "name": {"type": "string"},
                        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                        "datatype": {"type": "string"},
                        "parameters": {"type": "object"},
                        "data": {"type": "array"},
                    },
                },
            },
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
                },
            },
        },
    },
    "Inferred": {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "outputs": {"type": "array", "items": {"type": "object"}},
        },
    },
}
