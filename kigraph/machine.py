"""What this machine is, for reports next to measurements."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any

from .kernels import settings
from .kernels.backends import backend_names, get_backend

__all__ = ["BackendInfo", "Machine", "backends", "describe"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Processor, CPUs and versions."""

    cpu: str
    cpus: int
    isa: str
    system: str
    python: str
    numpy: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.cpu}, {self.cpus} CPUs, {self.isa}, Python {self.python}, NumPy {self.numpy}"


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """One backend: whether it can be used here, and if not, why and what to do."""

    name: str
    available: bool
    summary: str
    detail: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe() -> Machine:
    """This machine, as far as the system says."""
    import numpy as np

    flags = _cpuinfo("flags").split()
    found = [name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2"), ("FMA", "fma")) if flag in flags]
    return Machine(
        cpu=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cpus=settings.available_cpus(),
        isa=" ".join(found) or platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        python=".".join(map(str, sys.version_info[:3])),
        numpy=np.__version__,
    )


def backends() -> tuple[BackendInfo, ...]:
    """All backends, fastest first, and whether each can run here."""
    result = []
    for name in backend_names():
        backend = get_backend(name)
        status = backend.status()
        remedy = "" if status.available else status.remedy or backend.remedy
        result.append(BackendInfo(name, status.available, backend.summary, status.detail, remedy))
    return tuple(result)


def _cpuinfo(key: str) -> str:
    if not os.path.exists("/proc/cpuinfo"):
        return ""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""
