"""What this machine is, for reports next to measurements."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any

from .kernels import settings
from .kernels.backends import backend_names, get_backend

__all__ = ["BackendInfo", "Backends", "Machine", "backend_status", "cpu_flags", "describe"]

#: Instruction sets that a kernel could use; a processor lists some 150 flags.
_FLAGS = ("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "neon", "asimd", "sve", "sve2", "bf16", "i8mm",
)  # fmt: skip


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


class Backends(tuple[BackendInfo, ...]):
    """What ``backend_status`` gives: a tuple of BackendInfo that prints, and that a notebook shows, as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        rows = [("backend", "usable", "what", "here"), *self._rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *(f"  {b.name}: {b.remedy}" for b in self if b.remedy)])

    def __repr__(self) -> str:
        return f"<Backends: {', '.join(b.name if b.available else f'{b.name} (not usable)' for b in self)}>"

    def _repr_html_(self) -> str:
        from .graph.draw.tables import block, table

        rows = [(*row, b.remedy) for row, b in zip(self._rows(), self, strict=True)]
        return block(table(("backend", "usable", "what", "here", "remedy"), rows))

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(b.name, "yes" if b.available else "no", b.summary, b.detail) for b in self]


def describe() -> Machine:
    """This machine, as far as the system says."""
    import numpy as np

    flags = cpu_flags()
    found = [name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2"), ("FMA", "fma")) if flag in flags]
    return Machine(
        cpu=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cpus=settings.available_cpus(),
        isa=" ".join(found) or platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        python=".".join(map(str, sys.version_info[:3])),
        numpy=np.__version__,
    )


def backend_status() -> Backends:
    """All backends, fastest first: whether each can be used here, and if not, why and what to do."""
    result = []
    for name in backend_names():
        backend = get_backend(name)
        status = backend.diagnosis()
        remedy = "" if status.available else status.remedy or backend.remedy
        result.append(BackendInfo(name, status.available, backend.summary, status.detail, remedy))
    return Backends(result)


def cpu_flags() -> tuple[str, ...]:
    """Which instruction sets of interest the processor has, as Linux names them; empty where it does not say."""
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    return tuple(flag for flag in _FLAGS if flag in flags)


def _cpuinfo(key: str) -> str:
    if not os.path.exists("/proc/cpuinfo"):
        return ""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""
