"""CUDA sources to cubins: NVRTC (CuPy's binding of it), with a cache on disk.

The key of a cubin is the hash of the sources, the macros, the architecture and the compiler's version, so that a
changed file or another NVRTC never loads an old binary. Needs no GPU and no CUDA toolkit. Cubins are whole ELF files,
from the cache too: a file there that is truncated or no cubin is compiled anew and replaced.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import settings
from ..cache_files import UnsafeFileError, read_sealed, write_sealed
from ..errors import BackendError, KernelError
from .binding import nvrtc
from .elf import check_whole, completed
from .launch import Build

__all__ = [
    "SOURCES",
    "cache_folder",
    "compile_cubin",
    "compile_with_log",
    "cubin_path",
    "read_cubin",
    "read_sources",
    "store",
]

_LOG = logging.getLogger("kigraph")
#: The CUDA sources; part of the package.
SOURCES = Path(__file__).parent / "cuda"
_INCLUDE = re.compile(r"^\s*#include\s*<([\w.]+\.cuh)>", re.MULTILINE)
#: Part of every cubin's name in the cache; 2: with the last byte, which files of 1 lack; 3: sealed.
_CACHE_FORMAT = 3
#: The largest at present has 0.2 MB.
_MOST_BYTES = 64 << 20
_OPTIONS = ("--std=c++17", "--ptxas-options=-v", "--extra-device-vectorization")


def read_sources(source: str) -> dict[str, str]:
    """The text of a file of cuda/ and of every header that it includes, directly or not; the file itself first."""
    texts: dict[str, str] = {}
    waiting = [source]
    while waiting:
        name = waiting.pop(0)
        if name not in texts:
            texts[name] = (SOURCES / name).read_text(encoding="utf-8")
            waiting += _INCLUDE.findall(texts[name])
    return texts


def cache_folder(kind: str) -> Path:
    """Where compiled kernels of one kind are kept: KIGRAPH_CACHE_DIR, else ~/.cache/kigraph (or XDG_CACHE_HOME)."""
    return settings.cache_folder() / kind


def digest(texts: Mapping[str, str], *more: object) -> str:
    """A name for what is compiled from these texts with these options."""
    state = hashlib.sha256()
    for part in (*(f"{name}\0{text}" for name, text in sorted(texts.items())), *map(str, more)):
        state.update(part.encode())
        state.update(b"\1")
    return state.hexdigest()[:32]


def store(path: Path, data: bytes) -> None:
    """Writes a sealed file, so that another process sees all of it or nothing, and finds damage."""
    write_sealed(path, data)


def _nvrtc() -> Any:
    return nvrtc()


def compile_with_log(build: Build, arch: str) -> tuple[bytes, str]:
    """The cubin and the compiler's log (registers, spills).

    Raises KernelError with the log if it does not compile, and if what the compiler gave is no whole ELF file.
    """
    nvrtc = _nvrtc()
    texts = read_sources(build.source)
    headers = [name for name in texts if name != build.source]
    options = [
        f"--gpu-architecture={arch}",
        *_OPTIONS,
        *(f"--define-macro={name}={value}" for name, value in build.defines),
    ]
    try:
        program = nvrtc.createProgram(
            texts[build.source], build.source, [texts[n].encode() for n in headers], [n.encode() for n in headers]
        )
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(
            f"cupy: the run-time compiler NVRTC cannot be loaded: {error}. "
            "Remedy: pip install nvidia-cuda-nvrtc (or 'cupy-cuda13x[ctk]', or a CUDA toolkit)"
        ) from error
    try:
        nvrtc.compileProgram(program, options)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program).rstrip("\0")
        raise KernelError(f"cupy: {build} does not compile for {arch} ({error}):\n{log}") from None
    else:
        cubin, log = bytes(nvrtc.getCUBIN(program)), nvrtc.getProgramLog(program).rstrip("\0")
    finally:
        nvrtc.destroyProgram(program)
    try:
        return completed(cubin), log
    except ValueError as error:
        raise KernelError(f"cupy: NVRTC's cubin of {build} for {arch} is not whole: {error}") from None


def cubin_path(build: Build, arch: str) -> Path:
    """Where the cache has the cubin of these sources by this NVRTC, if it has it."""
    version = ".".join(map(str, _nvrtc().getVersion()))
    name = digest(read_sources(build.source), build, arch, version, _OPTIONS, _CACHE_FORMAT)
    return cache_folder("cupy") / f"{Path(build.source).stem}-{arch}-{name}.cubin"


def read_cubin(path: Path) -> bytes | None:
    """The cubin of a cache file; None if there is none, or one that must not reach the driver (the log says why)."""
    try:
        cubin = read_sealed(path, _MOST_BYTES)
        check_whole(cubin)
    except OSError:
        return None
    except (UnsafeFileError, ValueError) as error:
        _LOG.warning("the compiled kernel %s is not used and made anew: %s", path, error)
        return None
    return cubin


def compile_cubin(build: Build, arch: str) -> bytes:
    """The cubin, from the cache or compiled and put there. A cache that cannot be written is ignored."""
    path = cubin_path(build, arch)
    cubin = read_cubin(path)
    if cubin is None:
        cubin, _ = compile_with_log(build, arch)
        with suppress(OSError):
            store(path, cubin)
    return cubin
