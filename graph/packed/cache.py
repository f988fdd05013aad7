"""Packed weights between processes: which file an array belongs to, under which key, and when files are written.

One file per model, backend, instruction set and code: ``CACHE/packed/<backend>-<target>-<model>-<code>.packed``. The model
is known by the content of its files (SHA-256), the code by ``code_stamp``, so that two installations with one cache folder
keep a file each. An entry is known by kernel, layout and the literal's key, in which everything that the value depends on is
spelled out. Only weights that come from files are kept: what a program made itself may never be seen again.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Hashable, Iterator
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from ... import kernels
from ...kernels import settings
from ...kernels.backends import get_backend
from ...kernels.digest import blake2b
from ...kernels.kernel import Kernel
from ...kernels.records import dataclass
from ...kernels.settings import cache_folder
from ..ir import PLAIN, Content, Key, Literal
from .file import PackedFile, PackedFileError, storable, write_packed

__all__ = ["PackedCache", "code_stamp", "packed_folder", "stable_key"]

_LOG = logging.getLogger("kigraph")
#: Smaller arrays are packed faster than they are looked up.
_LEAST_BYTES = 4096
#: A file may be this many times larger than what the process uses of it; beyond that unused entries are dropped.
_SPARE = 2
#: Installations that keep a file of a model; the least recently used of more are deleted.
_INSTALLATIONS = 3
#: Messages that were logged: each is logged once per process.
_SAID: set[str] = set()

NDArray = np.ndarray[Any, Any]


def packed_folder() -> Path:
    """The folder of packed-weights files."""
    return cache_folder() / "packed"


def stable_key(key: Hashable) -> tuple[bytes, tuple[str, ...]] | None:
    """A literal's key as bytes that other processes agree on, and the digests of the files that it depends on.

    None if the key has parts that mean nothing in another process, or depends on no file.
    """
    whole = key if isinstance(key, Key) else Key(key)
    if not whole.in_file:
        return None
    pending = [whole]
    while pending:  # keys inside keys first, without recursion: a chain of constants may be long
        if inner := _unspelled(pending[-1]):
            pending += inner
        else:
            done = pending.pop()
            done.stable = done.stable or _spelled(done)
    assert whole.stable is not None
    digest, files = whole.stable
    return (digest.encode(), tuple(sorted(files))) if digest else None


def _unspelled(key: Key) -> list[Key]:
    """The keys inside a key that have no spelling yet."""
    found: list[Key] = []
    stack: list[object] = [] if key.stable is not None else [key.parts]
    while stack:
        part = stack.pop()
        if isinstance(part, tuple):
            stack.extend(part)
        elif isinstance(part, Key) and part.stable is None:
            found.append(part)
    return found


def _spelled(key: Key) -> tuple[str, frozenset[str]]:
    """The digest of a key whose inner keys have theirs, and those of its files; no digest if a part has none."""
    # One word per part, a tuple as its length before its parts, so that no two keys are spelled alike.
    words: list[str] = []
    files: set[str] = set()
    stack: list[object] = [key.parts]
    while stack:
        part = stack.pop()
        if isinstance(part, tuple):
            words.append(f"({len(part)}")
            stack.extend(part)
        elif type(part) in PLAIN:
            words.append(repr(part))
        else:
            digest, more = _digest_of(part)
            if not digest:
                return "", frozenset()
            words.append(digest)
            files |= more
    text = " ".join(words).encode("utf-8", "backslashreplace")
    return blake2b(text, digest_size=20).hexdigest(), frozenset(files)


def _digest_of(part: object) -> tuple[str, frozenset[str]]:
    if isinstance(part, Key):
        assert part.stable is not None
        return part.stable[0] and f"={part.stable[0]}", part.stable[1]
    digest = part.content_digest() if isinstance(part, Content) else None
    if digest is None:
        return "", frozenset()
    return f"#{digest}", frozenset([digest] if isinstance(part, Content) and part.in_file else ())


@functools.cache
def code_stamp(backend: str) -> str:
    """Distinguishes builds: names, sizes and times of all files of graph/ and kernels/, and NumPy's version.

    So a changed kernel, pass or loader never gets weights that another version packed, in a checkout too. A plug-in adds
    its package, or its one file.
    """
    graph = Path(__file__).parent.parent
    roots = [graph, Path(kernels.__file__ or "").parent]
    module = Path(getattr(get_backend(backend).load(), "__file__", None) or kernels.__file__ or "")
    roots.append(module.parent if module.name == "__init__.py" else module)
    lines = [repr((sys.byteorder, np.dtype(np.float32).str, np.__version__))]
    for root in roots:
        lines += _states(root)
    return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def _states(root: Path) -> Iterator[str]:
    """Name, size and time of a file, or of all Python and shared-object files below a folder, in order."""
    if root.is_file():
        state = root.stat()
        yield f"{root.name} {state.st_size} {state.st_mtime_ns}"
        return
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir() and entry.name != "__pycache__":
                yield from _states(Path(entry.path))
            elif entry.name.endswith((".py", ".so")):
                state = entry.stat()
                yield f"{entry.name} {state.st_size} {state.st_mtime_ns}"


@dataclass(slots=True)
class _Group:
    """The entries of one file."""

    path: Path
    #: What the names of this model's files begin with, whatever code wrote them.
    family: str
    belongs: dict[str, Any]
    file: PackedFile | None
    #: Keys that were used; those whose data was damaged; and what was packed here and is not in the file yet.
    used: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    fresh: dict[str, NDArray] = field(default_factory=dict)


class PackedCache:
    """Finds packed arrays in the cache folder and keeps new ones there. Thread-safe.

    Trouble with the cache is never an error: the log says it once, and weights are packed as if there were no cache.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, tuple[str, ...]], _Group] = {}
        self._lock = threading.Lock()
        self._found = 0

    @classmethod
    def from_settings(cls) -> PackedCache | None:
        """A cache, unless KIGRAPH_PACKED_CACHE switches it off."""
        return cls() if settings.PACKED_CACHE.get() == "on" else None

    def get(self, kernel: Kernel, layout: str, literal: Literal, pack: Callable[[NDArray], Any]) -> Any:
        """The packed form of a literal: from the file, or packed now and kept for ``save``."""
        found = stable_key(literal.key) if literal.nbytes >= _LEAST_BYTES else None
        if found is None:
            return pack(literal.array())
        text, files = found
        name = blake2b(repr((str(kernel), layout)).encode() + text, digest_size=20).hexdigest()
        with self._lock:
            group = self._group(kernel.backend, files)
        group.used.add(name)
        if group.file is not None and name in group.file.entries and name not in group.damaged:
            return group.file.array(name)
        packed = pack(literal.array())
        if storable(packed) and packed.nbytes >= _LEAST_BYTES:
            with self._lock:
                group.fresh[name] = packed
        return packed

    def confirm(self) -> int:
        """Waits until the data that ``get`` gave from files is checked; returns how often damage was found so far.

        What is damaged is then packed anew by the next ``get``; what was made of it must not be used.
        """
        with self._lock:
            for group in self._groups.values():
                found = group.file.damaged() if group.file is not None else frozenset()
                if not found <= group.damaged:
                    _say(f"{group.path}: the data of {len(found)} entries is damaged; it is made anew")
                    group.damaged |= found
                    self._found += 1
            return self._found

    def save(self) -> None:
        """Writes files for what was packed since the last call."""
        with self._lock:
            for group in self._groups.values():
                if group.fresh:
                    fresh, group.fresh = group.fresh, {}
                    self._write(group, fresh)

    def _group(self, backend: str, files: tuple[str, ...]) -> _Group:
        group = self._groups.get((backend, files))
        if group is None:
            target = get_backend(backend).target()
            model = files[0] if len(files) == 1 else blake2b("".join(files).encode()).hexdigest()
            family, code = f"{backend}-{target or 'any'}-{model[:24]}", code_stamp(backend)
            path = packed_folder() / f"{family}-{code[:8]}.packed"
            belongs = {"backend": backend, "target": target, "code": code, "files": list(files)}
            group = self._groups[backend, files] = _Group(path, family, belongs, _open(path, belongs))
            with contextlib.suppress(OSError):
                os.utime(path.with_suffix(".checked"))  # the file itself must keep its times
        return group

    def _write(self, group: _Group, fresh: dict[str, NDArray]) -> None:
        try:
            group.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _only_one(group.path.with_suffix(".lock")) as mine:
                if not mine:
                    return  # another process is writing this model; what it lacks is added at the next start
                for part in group.path.parent.glob(f"{group.path.name}*.part"):
                    part.unlink(missing_ok=True)  # of a writer that was killed: only who holds the lock writes
                # What other processes have added meanwhile stays.
                latest = _open(group.path, group.belongs, quiet=True)
                if latest is not None:
                    fresh = {k: a for k, a in fresh.items() if k not in latest.entries or k in group.damaged}
                    self._forget_unused(group, fresh, latest)
                if fresh:
                    write_packed(group.path, group.belongs, fresh, latest)
                    _forget_others(group)
        except OSError as error:
            _say(f"packed weights are not kept: {group.path.parent} cannot be written: {error.strerror}")

    @staticmethod
    def _forget_unused(group: _Group, fresh: dict[str, NDArray], latest: PackedFile) -> None:
        total = sum(e.nbytes for e in latest.entries.values())
        used = sum(e.nbytes for k, e in latest.entries.items() if k in group.used)
        if total > _SPARE * (used + sum(a.nbytes for a in fresh.values())):
            for key in [k for k in latest.entries if k not in group.used]:
                del latest.entries[key]


def _forget_others(group: _Group) -> None:
    """Deletes this model's files of the least recently used installations; a process that has one mapped keeps it."""

    def last_use(path: Path) -> int:
        times = []
        for file in (path, path.with_suffix(".checked")):
            with contextlib.suppress(OSError):
                times.append(file.lstat().st_mtime_ns)
        return max(times, default=0)

    others = [p for p in group.path.parent.glob(f"{group.family}*.packed") if p != group.path]
    for path in sorted(others, key=last_use, reverse=True)[_INSTALLATIONS - 1 :]:
        for suffix in (".packed", ".checked", ".lock"):
            path.with_suffix(suffix).unlink(missing_ok=True)


def _open(path: Path, belongs: dict[str, Any], quiet: bool = False) -> PackedFile | None:
    try:
        return PackedFile(path, belongs)
    except FileNotFoundError:
        return None
    except (OSError, PackedFileError) as error:
        if not quiet:
            _say(f"the packed weights in {path} are not used and made anew: {error}", logging.INFO)
        return None


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[bool]:
    """True while no other process holds the lock; the system frees it when its holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    with open(descriptor, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _say(text: str, level: int = logging.WARNING) -> None:
    if text not in _SAID:
        _SAID.add(text)
        _LOG.log(level, "%s", text)
