"""Which models a service has: a folder, or a TOML file that says for each how it runs."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import KigraphError, LoadError
from ..kernels.settings import PRECISIONS

if TYPE_CHECKING:
    from ..classifier import Classifier

__all__ = ["ModelSpec", "open_spec", "read_models"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_BYTES, _MAX_MODELS = 1 << 20, 256
_RULES = ("legacy", "half_pixel", "torchvision", "keras_nearest", "keras_bilinear")
#: Files beside models.
_NO_MODELS = (".txt", ".json", ".md", ".toml", ".csv", ".yaml", ".yml", ".xz", ".html", ".npz")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: what a [[model]] table of the TOML file may say. ``file`` is relative to the TOML file's folder."""

    name: str
    file: Path
    version: str = "1"
    labels: str | None = None
    card: str | None = None
    backend: str | None = None
    precision: str | None = None
    threads: int | None = None
    workers: int | None = None
    decoders: int | None = None
    queue: int | None = None
    batch: int | None = None
    batch_wait_ms: int | None = None
    #: False: it is listed, and loaded when it is asked for.
    load: bool = True
    #: What of the card is otherwise: input, output, size, mean, std, rule, channels, layout, scores.
    changes: dict[str, Any] = field(default_factory=dict)


_NUMBERS = {"threads": (1, 1024), "workers": (1, 64), "decoders": (1, 256), "queue": (1, 100_000), "batch": (1, 64),
            "batch_wait_ms": (0, 1000)}  # fmt: skip
_TEXTS = ("labels", "card", "backend")
_CHANGES = {"input": None, "output": None, "resize": _RULES, "channels": ("RGB", "BGR", "L"), "layout": ("NHWC", "NCHW"),
            "scores": ("probabilities", "logits", "sigmoid")}  # fmt: skip
_PER_CHANNEL = ("mean", "std")
_KNOWN = ("name", "file", "version", *_TEXTS, *_NUMBERS, "load", "precision", *_CHANGES, "size", *_PER_CHANNEL)


def read_models(where: str) -> list[ModelSpec]:
    """The models of a folder or of a TOML file; KigraphError, which names the place, if there are none or one is wrong."""
    path = Path(where)
    if path.is_dir():
        found = _of_folder(path)
    elif path.exists():
        found = _of_toml(path)
    else:
        raise KigraphError(
            f"--models {where[:200]!r}: there is no such folder or file; expected a folder with models, or a TOML file"
        )
    if not found:
        raise KigraphError(
            f"--models {where[:200]!r}: no models in it; expected model files, or folders NAME/VERSION/ with one each"
        )
    if len(found) > _MAX_MODELS:
        raise KigraphError(f"--models {where[:200]!r}: {len(found)} models, the limit is {_MAX_MODELS}")
    seen: dict[tuple[str, str], ModelSpec] = {}
    for spec in found:
        other = seen.setdefault((spec.name, spec.version), spec)
        if other is not spec:
            raise KigraphError(
                f"--models {where[:200]!r}: two models are called {spec.name!r} version {spec.version!r}: {other.file} and {spec.file}; "
                "give one of them another name or version"
            )
    if not any(spec.load for spec in found):
        raise KigraphError(f"--models {where[:200]!r}: every model has load = false; one has to be loaded at the start")
    return found


def open_spec(spec: ModelSpec) -> Classifier:
    """Loads a model. Raises what ``ki.load`` raises."""
    from ..classifier import load

    return load(
        spec.file,
        backend=spec.backend,
        precision=spec.precision,
        threads=spec.threads,
        labels=spec.labels,
        card=spec.card,
        changes=spec.changes or None,
    )


def _of_folder(folder: Path) -> list[ModelSpec]:
    """Model files, and folders that are a model, or have one, or have one for each version (numbers; the latest is loaded)."""
    found = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise KigraphError(f"{folder}: cannot be read: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith(".") or (entry.is_file() and entry.suffix.lower() in _NO_MODELS):
            continue
        if entry.is_file():
            found.append(ModelSpec(_name(entry.stem, entry), entry))
        elif entry.is_dir():
            name = _name(entry.name, entry)
            versions = sorted(
                (e for e in entry.iterdir() if e.name.isascii() and e.name.isdecimal() and e.is_dir()),
                key=lambda e: int(e.name),
            )
            if not versions:
                found.append(ModelSpec(name, _inside(entry)))
            found += [ModelSpec(name, _inside(v), str(int(v.name)), load=v is versions[-1]) for v in versions]
    return found


def _inside(folder: Path) -> Path:
    """The model of a folder: the folder itself if it is a SavedModel, else the one model file in it."""
    if (folder / "saved_model.pb").exists():
        return folder
    files = [
        e
        for e in sorted(folder.iterdir())
        if e.is_file() and not e.name.startswith(".") and e.suffix.lower() not in _NO_MODELS
    ]
    if len(files) != 1:
        names = ", ".join(e.name for e in files[:5]) or "none"
        raise KigraphError(
            f"{folder}: expected one model file, or a SavedModel, found {len(files)} ({names}); a TOML file can name it"
        )
    return files[0]


def _name(name: str, where: Path | str) -> str:
    if not _NAME.fullmatch(name):
        raise KigraphError(
            f"{where}: {name[:80]!r} is no name for a model, which is part of addresses; expected up to 64 letters, digits, '.', '_' and "
            "'-'; rename it, or name it in a TOML file"
        )
    return name


def _of_toml(path: Path) -> list[ModelSpec]:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise KigraphError(f"{path}: larger than {_MAX_BYTES} bytes, the limit")
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise KigraphError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        hint = "" if path.suffix == ".toml" else "; a single model is served with --weights"
        raise KigraphError(f"{path}: not a TOML file: {error}{hint}") from None
    tables = document.get("model")
    if set(document) != {"model"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        others = ", ".join(sorted(set(document) - {"model"}))[:200]
        raise KigraphError(
            f"{path}: expected tables [[model]] and nothing else" + (f", found {others}" if others else "")
        )
    return [_spec(table, f"{path}: model {number}", path.parent) for number, table in enumerate(tables, 1)]


def _spec(table: dict[str, Any], where: str, folder: Path) -> ModelSpec:
    if unknown := sorted(set(table) - set(_KNOWN)):
        raise KigraphError(f"{where}: unknown key {unknown[0][:80]!r}; known: {', '.join(_KNOWN)}")
    for name in ("name", "file"):
        if name not in table:
            raise KigraphError(f'{where}: without {name!r}; expected at least name = "..." and file = "..."')
    where = f"{where} ({str(table['name'])[:80]!r})"
    given: dict[str, Any] = {
        "name": _name(_text(table, "name", where), where),
        "file": folder / _text(table, "file", where),
    }
    if not given["file"].exists():
        raise LoadError(f"{where}: file: {given['file']} does not exist")
    if "version" in table:
        version = table["version"]
        given["version"] = _name(
            str(version) if type(version) is int and version >= 0 else _text(table, "version", where), where
        )
    for name in _TEXTS:
        if name in table:
            text = _text(table, name, where)
            beside = folder / text
            given[name] = str(beside) if name != "backend" and beside.exists() else text
    given |= _numbers(table, where)
    if "load" in table:
        if type(table["load"]) is not bool:
            raise KigraphError(f"{where}: load = {table['load']!r}: expected true or false")
        given["load"] = table["load"]
    if "precision" in table:
        if table["precision"] not in PRECISIONS:
            raise KigraphError(f"{where}: precision = {table['precision']!r}: expected one of {', '.join(PRECISIONS)}")
        given["precision"] = table["precision"]
    given["changes"] = _changes(table, where)
    assert set(given) <= {f.name for f in fields(ModelSpec)}
    return ModelSpec(**given)


def _numbers(table: dict[str, Any], where: str) -> dict[str, int]:
    """The numbers of a table."""
    given: dict[str, int] = {}
    for name, (low, high) in _NUMBERS.items():
        if name in table:
            if type(table[name]) is not int or not low <= table[name] <= high:
                raise KigraphError(f"{where}: {name} = {table[name]!r}: expected a whole number from {low} to {high}")
            given[name] = table[name]
    return given


def _per_channel(name: str, value: Any, where: str) -> tuple[float, ...]:
    """A number, or three, as three."""
    numbers = value if isinstance(value, list) else [value] * 3
    if len(numbers) != 3 or not all(type(n) in (int, float) and abs(n) < 1e30 for n in numbers):
        raise KigraphError(f"{where}: {name} = {value!r}: expected a number, or three for red, green and blue")
    if name == "std" and 0 in numbers:
        raise KigraphError(f"{where}: std = {value!r}: pixels are divided by it: expected numbers other than 0")
    return tuple(float(n) for n in numbers)


def _changes(table: dict[str, Any], where: str) -> dict[str, Any]:
    """What a table says of the card, in the words of ``ki.load(changes=...)``."""
    changes: dict[str, Any] = {}
    for name, allowed in _CHANGES.items():
        if name in table:
            text = _text(table, name, where)
            if allowed is not None and text not in allowed:
                raise KigraphError(f"{where}: {name} = {text[:80]!r}: expected one of {', '.join(allowed)}")
            changes["rule" if name == "resize" else name] = text
    for name in _PER_CHANNEL:
        if name in table:
            changes[name] = _per_channel(name, table[name], where)
    if "size" in table:
        value = table["size"]
        sides = value if isinstance(value, list) else [value] * 2
        if len(sides) != 2 or not all(type(n) is int and 0 < n < 1 << 15 for n in sides):
            raise KigraphError(f"{where}: size = {value!r}: expected a whole number, or [height, width]")
        changes["size"] = tuple(sides)
    return changes


def _text(table: dict[str, Any], name: str, where: str) -> str:
    value = table[name]
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise KigraphError(f"{where}: {name} = {value!r}: expected a text")
    return os.path.expanduser(value) if name in ("file", "labels", "card") else value
