"""Where a Keras file without a config in it has one: the JSON that model.to_json() writes, beside it."""

from __future__ import annotations

import json
from typing import Any

from ..errors import LoadError
from ..formats.source import Source

__all__ = ["config_beside", "is_config", "version_of"]

_MOST = 32 << 20
_ENDS = (".weights.h5", ".h5", ".hdf5", ".keras")


def config_beside(source: Source) -> dict[str, Any]:
    """'model_config' and 'keras_version' of NAME.json for NAME.weights.h5 or NAME.h5, else of config.json; {} if there is none.

    Other JSON files (labels, say) are passed over.
    """
    folder, name = source.path.parent, source.path.name
    stem = next((name[: -len(end)] for end in _ENDS if name.endswith(end)), source.path.stem)
    for candidate in (f"{stem}.json", f"{source.path.stem}.json", "config.json"):
        try:
            if not (folder / candidate).is_file():
                continue
            beside = Source(folder / candidate)
            if beside.size > _MOST:
                continue
            text = beside.read(0, beside.size).decode()
        except (LoadError, OSError, ValueError):
            continue
        if is_config(text):
            version = version_of(text) or _metadata_version(source)
            return {"model_config": text} | ({"keras_version": version} if version else {})
    return {}


def is_config(text: str) -> bool:
    """Whether a JSON text describes a Keras model."""
    spec = _parsed(text)
    return (
        isinstance(spec, dict)
        and isinstance(spec.get("class_name"), str)
        and isinstance(spec.get("config"), (dict, list))
    )


def version_of(text: str) -> str | None:
    """'keras_version' of a config or of metadata.json."""
    spec = _parsed(text)
    version = spec.get("keras_version") if isinstance(spec, dict) else None
    if version is None and isinstance(spec, dict) and isinstance(spec.get("module"), str):
        return "3" if spec["module"].startswith("keras.src") else None
    return version if isinstance(version, str) else None


def _metadata_version(source: Source) -> str | None:
    """metadata.json of a .keras archive that was unpacked."""
    path = source.path.parent / "metadata.json"
    try:
        if not path.is_file():
            return None
        found = Source(path)
        return version_of(found.read(0, found.size).decode()) if found.size < _MOST else None
    except (LoadError, OSError, ValueError):
        return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
