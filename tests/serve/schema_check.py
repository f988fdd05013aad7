"""Checks values against the part of JSON Schema that /openapi.json uses, and says of other keywords that it lacks them."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["SchemaError", "check", "matching"]

_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),), "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float),
}  # fmt: skip
#: Keywords that say nothing that can be checked.
_NOTES = {"description", "default", "format", "contentEncoding"}
_KNOWN = _NOTES | {
    "$ref", "type", "required", "properties", "items", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "maxLength", "pattern", "anyOf", "enum", "minItems",
}  # fmt: skip


class SchemaError(AssertionError):
    """A value is not what the schema says; the message begins with where."""


def check(value: Any, schema: dict[str, Any], document: dict[str, Any], where: str = "$") -> None:
    """Raises SchemaError. Stricter than JSON Schema: an object that states properties may have no others."""
    assert set(schema) <= _KNOWN, f"{where}: keywords that this check lacks: {set(schema) - _KNOWN}"
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return check(value, target, document, where)
    if "anyOf" in schema:
        return _check_any(value, schema["anyOf"], document, where)
    if not set(schema) - _NOTES:
        return None  # anything
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = next((kind for kind in kinds if _is(value, kind)), None)
    if kind is None:
        raise SchemaError(f"{where}: {value!r} is no {' or '.join(kinds)}")
    for keyword, wrong in (
        ("minimum", lambda v, limit: v < limit),
        ("maximum", lambda v, limit: v > limit),
        ("exclusiveMinimum", lambda v, limit: v <= limit),
        ("exclusiveMaximum", lambda v, limit: v >= limit),
        ("maxLength", lambda v, limit: len(v) > limit),
        ("enum", lambda v, allowed: v not in allowed),
        ("minItems", lambda v, limit: len(v) < limit),
        ("pattern", lambda v, pattern: re.search(pattern, v) is None),
    ):
        if keyword in schema and wrong(value, schema[keyword]):
            raise SchemaError(f"{where}: {value!r} against {keyword} {schema[keyword]}")
    if kind == "object":
        properties = schema.get("properties")
        if missing := set(schema.get("required", ())) - set(value):
            raise SchemaError(f"{where}: without {sorted(missing)}")
        if properties is not None:
            if more := set(value) - set(properties):
                raise SchemaError(f"{where}: {sorted(more)} are not in the schema")
            for name, part in value.items():
                check(part, properties[name], document, f"{where}.{name}")
    if kind == "array":
        for number, item in enumerate(value):
            check(item, schema.get("items", {}), document, f"{where}[{number}]")
    return None


def _check_any(value: Any, schemas: list[dict[str, Any]], document: dict[str, Any], where: str) -> None:
    """One of some schemas has to fit."""
    problems = []
    for one in schemas:
        try:
            return check(value, one, document, where)
        except SchemaError as error:
            problems.append(str(error))
    raise SchemaError(f"{where}: " + " and ".join(problems))


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and (not isinstance(value, bool) or kind == "boolean")


def matching(content: dict[str, Any], media_type: str) -> dict[str, Any]:
    """The entry of a table of media types that is for this one."""
    for pattern, entry in content.items():
        if media_type == pattern or (pattern.endswith("/*") and media_type.startswith(pattern[:-1])):
            found: dict[str, Any] = entry
            return found
    raise SchemaError(f"{media_type} is none of {', '.join(content)}")
