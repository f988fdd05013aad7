"""The cache of weight files, and the one rule by which a command finds its weights.

The order: argument, then KIGRAPH_WEIGHTS, then the cache, then a download. If there is none of these it is an error: no other
model answers in the place of the one that was meant. The small model that comes with kigraph is taken by its name only, "demo".
A name ("demo", or one of the catalogue) takes precedence over a file of that name, which is "./demo". Only the demo, which measures, may
fall back on a generated untrained file, and says so.

Layout: ``CACHE/weights/<entry>/<file>`` with a ``record.json`` beside it. A file appears under its name only when it is
complete and verified (written beside it, then renamed), so a killed download leaves nothing that could be loaded.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import WeightsError
from ..kernels import settings
from ..kernels.atomic_files import open_regular
from ..kernels.records import dataclass
from ..kernels.settings import cache_folder
from .catalogue import CATALOGUE, DEFAULT, DEMO, REMEDY, UNTRAINED, Entry, catalogue_entry

if TYPE_CHECKING:
    from .transfer import Progress

__all__ = [
    "EMBEDDED",
    "Resolved",
    "cache_folder",
    "cached_path",
    "fetch",
    "generated_path",
    "named_weights",
    "resolve_weights",
    "verify",
]

Origin = Literal["argument", "KIGRAPH_WEIGHTS", "cache", "download", "embedded", "generated"]

#: A small model that kigraph trained itself and carries: apples or oranges (examples/apples_or_oranges.py).
EMBEDDED = Path(__file__).parent.parent / "data" / "apples_or_oranges.pb"

_LOG = logging.getLogger("kigraph")
_RECORD = "record.json"
_LOCK_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Resolved:
    """A weight file on this machine, where it came from, and whether it was ever trained.

    ``origin``: "embedded" is the demo model. ``reason``: of a generated file, why there is no trained one.
    """

    path: Path
    origin: Origin
    entry: Entry | None = None
    trained: bool = True
    reason: str = ""

    def __str__(self) -> str:
        origin = self.origin if self.origin in ("argument", "KIGRAPH_WEIGHTS") else f"the {self.origin}"
        if self.origin == "embedded":
            origin = "the demo model that comes with kigraph: it knows apples and oranges, nothing else"
        return f"{self.path} ({origin if self.trained else UNTRAINED})"


def cached_path(entry: Entry) -> Path | None:
    """The file of a catalogue entry if it is in the cache and has the recorded size, else None."""
    path = _folder(entry) / entry.filename
    record = _read_record(entry)
    try:
        return path if record and path.stat().st_size == record.get("size") else None
    except OSError:
        return None


def fetch(entry: Entry, *, progress: Progress | None = None, force: bool = False) -> Path:
    """The file of a catalogue entry, downloaded and verified if it is not in the cache.

    Several processes may call it at once: one downloads, the others wait for it. Raises WeightsError.
    """
    folder = _folder(entry)
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_lock(folder / ".lock"))
        except OSError as error:
            raise WeightsError(
                f"the cache {folder} cannot be used: {error.strerror}; set {settings.CACHE_DIR.name} to another folder"
            ) from None
        if not force and (path := _intact(entry)) is not None:
            return path
        return _fetch_locked(entry, folder, progress)


def verify(entry: Entry) -> bool:
    """Whether the cached file still has the SHA-256 that was recorded; False if there is none."""
    from .transfer import sha256_of

    path, record = cached_path(entry), _read_record(entry)
    return path is not None and sha256_of(path) == record.get("sha256")


def _intact(entry: Entry) -> Path | None:
    """The cached file if its content is what was recorded; a damaged one is logged.

    The SHA-256 of a file that did not change is remembered (graph/formats/digests.py), so this costs one reading per change.
    """
    from ..graph.formats.source import Source

    path, record = cached_path(entry), _read_record(entry)
    if path is None:
        return None
    if Source(path).remembered_sha256 == record.get("sha256"):
        return path
    _LOG.warning("%s is damaged: its SHA-256 is not the recorded one; it is not used", path)
    return None


def generated_path() -> Path:
    """The path of the demo's untrained file."""
    return cache_folder() / "weights" / "generated" / "inception_v3_2015_untrained.pb"


def resolve_weights(
    argument: str | os.PathLike[str] | None = None,
    *,
    allow_download: bool = True,
    allow_generated: bool = False,
    progress: Progress | None = None,
) -> Resolved:
    """Finds the weights by the rule at the top of this module.

    ``argument`` and KIGRAPH_WEIGHTS are a path, "demo" or a name of the catalogue; a Path is never a name.
    allow_generated: fall back on an untrained file, with the reason in the result, when there is no trained one.
    Raises WeightsError with what was tried and what to do.
    """
    settings.warn_of_unknown_names()
    for text, origin in ((argument, "argument"), (settings.WEIGHTS.get(), "KIGRAPH_WEIGHTS")):
        if text is not None:
            found = named_weights(text, origin, allow_download=allow_download, progress=progress)
            return _existing(os.fspath(text), origin) if found is None else found
    entry = catalogue_entry(DEFAULT)
    if (path := _intact(entry)) is not None:
        return Resolved(path, "cache", entry)
    failure = f"downloads are switched off, and {entry.name!r} is not in the cache {cache_folder()}"
    if allow_download:
        try:
            return Resolved(fetch(entry, progress=progress), "download", entry)
        except WeightsError as error:
            failure = str(error)
    if not allow_generated:
        raise WeightsError(f"no weights: {failure}. Remedy: {REMEDY}")
    return Resolved(_generate(), "generated", None, trained=False, reason=failure)


def named_weights(
    text: str | os.PathLike[str],
    origin: str = "argument",
    *,
    allow_download: bool = True,
    progress: Progress | None = None,
) -> Resolved | None:
    """The demo model or the catalogue's file if ``text`` is their name, else None: then it is a path.

    Raises WeightsError if the file is not in the cache and cannot or may not be downloaded.
    """
    if not isinstance(text, str) or (text != DEMO and text not in (e.name for e in CATALOGUE)):
        return None
    if os.path.lexists(text):
        _LOG.warning("%s is a name of weights, and taken as that; the file of that name is ./%s", text, text)
    if text == DEMO:
        return Resolved(EMBEDDED, "embedded")
    entry = catalogue_entry(text)
    if not allow_download and _intact(entry) is None:
        raise WeightsError(
            f"{text!r} (from {origin}) is not in the cache and downloads are switched off; "
            f"`kigraph weights fetch {text}` downloads it"
        )
    return Resolved(fetch(entry, progress=progress), "argument" if origin == "argument" else "KIGRAPH_WEIGHTS", entry)


def _existing(text: str, origin: str) -> Resolved:
    """A file that was named by its path."""
    if not text.strip():
        raise WeightsError(f"the name of the weights is empty (from {origin}). Remedy: {REMEDY}")
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    try:
        path = Path(text).expanduser()
        path.stat()
    except FileNotFoundError:
        names = ", ".join([*(e.name for e in CATALOGUE), DEMO])
        raise WeightsError(
            f"no such file: {shown} (from {origin}), and no weights of that name; known: {names}"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:  # no permission; a NUL; no home folder of that user
        reason = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(f"{shown} (from {origin}) cannot be opened: {reason}") from None
    generated = generated_path()
    trained = not (generated.exists() and path.samefile(generated))
    return Resolved(path, "argument" if origin == "argument" else "KIGRAPH_WEIGHTS", trained=trained)


def _folder(entry: Entry) -> Path:
    return cache_folder() / "weights" / entry.name


def _fetch_locked(entry: Entry, folder: Path, progress: Progress | None) -> Path:
    # A start that downloads nothing does not load HTTP, TLS and tar.
    from .archive import extract_member
    from .transfer import download, sha256_of

    part, unpacked, target = folder / "download.part", folder / "member.part", folder / entry.filename
    old = _read_record(entry)
    # Trust on first use: a file without a published checksum may not change unnoticed.
    expected = entry.sha256 or (old.get("download_sha256") if old.get("url") == entry.url else None)
    try:
        digest = download(entry.url, part, size=entry.size, sha256=expected, progress=progress)
        ready = part
        if entry.member is not None:
            extract_member(part, entry.member, unpacked, size=entry.member_size)
            ready = unpacked
        record = {
            "url": entry.url,
            "download_sha256": digest,
            "sha256": digest if ready is part else sha256_of(ready),
            "size": ready.stat().st_size,
            "fetched": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        with open(ready, "rb") as file:
            os.fsync(file.fileno())
        os.replace(ready, target)
        _write_record(folder, record)
    except OSError as error:
        raise WeightsError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    finally:
        for leftover in (part, unpacked):
            with contextlib.suppress(OSError):
                leftover.unlink()
    return target


def _read_record(entry: Entry) -> dict[str, Any]:
    try:
        with open_regular(_folder(entry) / _RECORD) as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    part = folder / f"{_RECORD}.part"
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(part, folder / _RECORD)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """An exclusive lock between processes, freed by the system when its holder dies."""
    import fcntl

    with open(path, "a+b") as file:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise WeightsError(
                        f"another process has held {path} for {_LOCK_SECONDS / 60:.0f} minutes"
                    ) from None
                time.sleep(0.1)
        yield


def _generate() -> Path:
    from ..graph.models.inception_v3 import build as inception_v3

    path = generated_path()
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.parent / ".lock"):
            if not path.exists():
                part = path.with_suffix(".part")
                inception_v3.write_untrained_2015(part, seed=0)
                os.replace(part, path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror}") from None
    return path
