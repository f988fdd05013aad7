"""What hot kernels may use of a multiprocessor, and how many kernels a run launches: figures that only get better."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kigraph.graph.models.inception_v3.build import build
from kigraph.graph.models.inception_v3.weights import seeded_weights
from kigraph.graph.plan.context import Context
from kigraph.graph.plan.stage import Stage
from kigraph.graph.session import Session
from kigraph.kernels.cupy.device import CudaDevice
from kigraph.kernels.cupy.implicit_gemm import TILES, Tile
from kigraph.kernels.cupy.launch import Launch
from kigraph.kernels.cupy.runtime import CudaLauncher
from kigraph.kernels.errors import BackendError

pytest.importorskip("kigraph.kernels.testing", reason="the emulation of CUDA is not in the wheel")

from kigraph.kernels.testing.standin import StandIn

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="needs the checkout, not an installed copy")


# --- what fits into a multiprocessor --------------------------------------------------------------------------------

#: Shared memory of a multiprocessor and the most that one block may have, in bytes. CUDA takes 1 KB per block itself.
SHARED_BYTES = {"sm_80": (164 << 10, 163 << 10), "sm_90": (228 << 10, 227 << 10), "sm_100": (228 << 10, 227 << 10)}
REGISTERS, THREADS = 65_536, 2_048
#: Registers are handed to a warp in units of so many.
REGISTER_UNIT = 256
VECTORS = [
    (tile, vector) for tiles in TILES.values() for tile in tiles for vector in (4, 1) if vector == 4 or tile.bm < 128
]


def resident(tile: Tile, vector: int, arch: str) -> int:
    """Blocks that the build asks the compiler for; mirrors RESIDENT_HERE of implicit_gemm.cuh."""
    blocks = int(dict(tile.function(vector).build.defines)["RESIDENT"])
    return (blocks + 1) // 2 if arch == "sm_80" else blocks


def objections(tile: Tile, registers: int, blocks: int, arch: str) -> list[str]:
    """What hinders so many blocks from sharing a multiprocessor."""
    whole, one = SHARED_BYTES[arch]
    per_warp = -(-registers * 32 // REGISTER_UNIT) * REGISTER_UNIT
    uses = {
        "registers": (per_warp * (tile.threads // 32) * blocks, REGISTERS),
        "bytes of shared memory": ((tile.shared_bytes + 1024) * blocks, whole),
        "bytes of shared memory for one block": (tile.shared_bytes, one),
        "threads": (tile.threads * blocks, THREADS),
    }
    return [
        f"{blocks} blocks on {arch}: {used:,} {what} of {most:,}" for what, (used, most) in uses.items() if used > most
    ]


@pytest.mark.parametrize("arch", SHARED_BYTES)
@pytest.mark.parametrize(
    ("tile", "vector"),
    VECTORS,
    ids=lambda v: f"{v.precision.name}-{v.bm}x{v.bn}" if isinstance(v, Tile) else f"gather{v}",
)
def test_the_resident_blocks_fit(tile: Tile, vector: int, arch: str) -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'kigraph[cupy]'")
    from benchmarks.gpu import sass

    function = tile.function(vector)
    try:
        used = sass.registers(sass.compiled(function.build, arch)[1])[function.name]
    except BackendError as error:
        pytest.skip(str(error))
    assert objections(tile, used, resident(tile, vector, arch), arch) == []


def test_a_block_too_many_is_seen() -> None:
    tile = TILES["bf16"][0]
    assert objections(tile, 128, 2, "sm_90") == []
    assert [o.split(" ", 5)[5] for o in objections(tile, 128, 3, "sm_90")] == ["registers of 65,536"]
    assert objections(tile, 129, 2, "sm_90") == ["2 blocks on sm_90: 69,632 registers of 65,536"]
    shared = "bytes of shared memory of"
    assert objections(tile, 32, 2, "sm_80") == []
    assert objections(tile, 32, 3, "sm_80") == [f"3 blocks on sm_80: 224,256 {shared} 167,936"]
    wide = dataclasses.replace(tile, bm=1024)
    assert any("for one block" in o for o in objections(wide, 32, 1, "sm_90"))


# --- launches of one run --------------------------------------------------------------------------------------------

#: By batch, in bf16 on 132 multiprocessors (H100, H200).
MOST_LAUNCHES = {1: 196, 8: 145, 32: 118, 128: 115}


class Nowhere:
    """cupy.cuda.MemoryPointer of memory that does not exist: 128 images would take 1 GB."""

    def __init__(self, ptr: int = 1 << 40) -> None:
        self.ptr = ptr

    def __add__(self, offset: int) -> Nowhere:
        return Nowhere(self.ptr + offset)


@pytest.fixture
def launches(stand_in: Callable[..., StandIn], monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """The launches that are bound; nothing is compiled, copied or run."""
    bound: list[Launch] = []

    def bind(self: CudaLauncher, launches: Sequence[Launch], keep: Sequence[Any]) -> Callable[[], None]:
        bound.extend(launches)
        return lambda: None

    gpu = stand_in(multiprocessors=132)
    monkeypatch.setattr(gpu.cupy.cuda, "alloc", lambda size: Nowhere())
    monkeypatch.setattr(CudaLauncher, "bind", bind)
    monkeypatch.setattr(CudaDevice, "upload", lambda self, source, target: None)
    return bound


@pytest.fixture(scope="module")
def inception() -> Any:
    return build(seeded_weights())


@pytest.mark.parametrize("batch", MOST_LAUNCHES)
def test_launches_of_a_run_do_not_grow(batch: int, inception: Any, launches: list[Launch]) -> None:
    images = np.broadcast_to(np.float32(0), (batch, 299, 299, 3))
    with Session(inception, backend="cupy", precision="bf16") as session:
        stages = [stage for _, stage in session.plan("predictions:0", {"input:0": images}).compiled()]
        launches.clear()  # those that packed weights
        for stage in stages:
            assert isinstance(stage, Stage)
            Context(stage)
    by_kernel = Counter(launch.function.name for launch in launches)
    assert by_kernel["conv2d_bf16"] >= 50, by_kernel
    assert len(launches) <= MOST_LAUNCHES[batch], f"{len(launches)} launches at batch {batch}: {dict(by_kernel)}"
