"""Part 0: which device, driver and libraries, which commit, and whether the backend can be used.

python -m benchmarks.gpu.environment [--dry]
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kigraph.kernels import cupy as backend

from . import dry
from .record import Recorder

__all__ = ["commit", "main", "sources"]

ROOT = Path(__file__).resolve().parents[2]
_QUERY = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit"
_PACKAGES = ("numpy", "torch", "triton", "cupy-cuda13x", "cupy-cuda12x", "nvidia-cuda-nvrtc", "cuda-core", "simplejpeg", "pytest")  # fmt: skip


def _output(*command: str) -> str:
    """The first line that a command prints; 'unknown' if it does not run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, cwd=ROOT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def sources() -> str:
    """A hash of everything that the backend's results and times depend on: kernels, graph, these benchmarks."""
    state = hashlib.sha256()
    for path in sorted(p for folder in ("kernels", "graph", "benchmarks") for p in (ROOT / folder).rglob("*.*")):
        if path.suffix in (".py", ".cu", ".cuh", ".sh") and path.is_file():
            state.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\1")
    return state.hexdigest()[:16]


def commit() -> str:
    """git describe; without a repository what gpu_prepare wrote down, and whether the sources are still those."""
    found = _output("git", "describe", "--always", "--dirty", "--abbrev=12")
    written = ROOT / ".gpu" / "commit"
    if found != "unknown" or not written.is_file():
        return found
    packed, *known = written.read_text(encoding="utf-8").splitlines() or ["unknown"]
    return packed if known == [sources()] else f"{packed}, but the sources have changed since"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes one line per fact; 1 if the backend cannot be used."""
    args = dry.parse(__doc__, arguments)
    facts: dict[str, Callable[[], str | None]] = {
        "commit": commit,
        "sources": sources,
        "nvidia-smi": lambda: _output("nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader"),
        "python": platform.python_version,
        "system": platform.platform,
        "cpus": lambda: str(os.cpu_count()),
        "openblas": lambda: str(np.show_config(mode="dicts")["Build Dependencies"]["blas"].get("name")),  # type: ignore[call-overload]
        **{package: (lambda p=package: _version(p)) for package in _PACKAGES},  # type: ignore[misc]
        "settings": lambda: " ".join(sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith("KIGRAPH_"))),
    }
    with Recorder("environment", dry=args.dry) as out:
        for name, fact in facts.items():
            try:
                value = fact()
            except Exception as error:
                value = f"{type(error).__name__}: {error}"
            if value is None:
                out.skip(name, "not installed")
            else:
                out.line(name, value)
        status = backend.probe()
        out.line("backend", status.detail, ok=status.available, remedy=status.remedy)
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
