"""Instruction sets: how wide a vector is, and which register tiles the matrix kernels use."""

from __future__ import annotations

import functools

import llvmlite.binding as llvm

from .. import settings
from ..errors import BackendError
from ..records import dataclass

__all__ = ["TARGETS", "Target", "current", "features"]


@dataclass(frozen=True, slots=True)
class Target:
    """``rows[v - 1]`` rows x v vectors is the tile for panels of v vectors: its accumulators, v vectors of weights and
    one broadcast element stay within the registers."""

    name: str
    vector_bytes: int
    #: Multiply and add round once. Without it llvm.fma would call a library function per element.
    fma: bool
    rows: tuple[int, ...]
    #: Features that the CPU must have, in LLVM's words.
    needs: tuple[str, ...] = ()

    @property
    def panel(self) -> int:
        """Vectors of a full panel."""
        return len(self.rows)

    def lanes(self, itemsize: int) -> int:
        return self.vector_bytes // itemsize


#: Best first. Measured at 93-96 % of the FMA peak on AVX-512: 14 x 2, 9 x 3 and 6 x 4; one family keeps compiling short.
TARGETS = (
    Target("avx512", 64, True, (14, 14), ("avx512f", "avx512vl", "avx512dq", "avx512bw")),
    Target("avx2", 32, True, (12, 6), ("avx2", "fma")),
    Target("portable", 16, False, (8, 5)),
)


@functools.cache
def features() -> frozenset[str]:
    """What the CPU can do, in LLVM's words."""
    return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)


def current() -> Target:
    """The target that KIGRAPH_ISA names; auto: the best of this CPU. BackendError if the CPU lacks it."""
    wanted = settings.ISA.get()
    wanted = "avx512" if wanted == "amx" else wanted.partition("_")[0]  # sets of narrow products belong to these
    usable = [t for t in TARGETS if features().issuperset(t.needs)]
    if wanted == "auto":
        return usable[0]
    for target in usable:
        if target.name == wanted:
            return target
    raise BackendError(
        f"numba: KIGRAPH_ISA={wanted} is not possible on this CPU; "
        f"it has {', '.join(t.name for t in usable)}. Remedy: unset KIGRAPH_ISA"
    )
