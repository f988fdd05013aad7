"""Part 0: which device, driver and libraries, which commit, and whether the backend can be used.

python -m benchmarks.gpu.environment [--dry]
"""

from __future__ import annotations

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

__all__ = ["commit", "main"]

ROOT = Path(__file__).resolve().parents[2]
_QUERY = "name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit"
_PACKAGES = ("numpy", "torch", "triton", "cupy-cuda13x", "cupy-cuda12x", "nvidia-cuda-nvrtc", "cuda-core", "simplejpeg", "pytest")  # fmt: skip


def _output(*command: str) -> str:
    """The first line that a command prints; 'unknown' if it does not run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=ROOT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def commit() -> str:
    """git describe; where .git did not travel, what gpu_prepare wrote down."""
    found = _output("git", "describe", "--always", "--dirty", "--abbrev=12")
    written = ROOT / ".gpu" / "commit"
    if found == "unknown" and written.is_file():
        return (written.read_text(encoding="utf-8").strip().splitlines() or ["unknown"])[0]
    return found


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
