"""Part 2: every build that float32 networks need, compiled for the device into the cubin cache, in as many processes as CPUs.

    python -m benchmarks.gpu.builds [--dry]

Nothing is compiled twice: what gpu_prepare brought is only counted. A compiled build's registers and spills are recorded:
this machine's NVRTC may be one that was never tried.

--dry: two builds for sm_90 by the real NVRTC, where it is installed.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from kigraph.kernels import cupy as backend
from kigraph.kernels.cupy import binding, compiler
from kigraph.kernels.cupy.launch import Build
from kigraph.kernels.cupy.table import BUILDS
from kigraph.kernels.settings import available_cpus

from . import dry
from .record import Recorder

__all__ = ["Compiled", "compile_builds", "compile_one", "float_builds", "main"]


def float_builds() -> list[Build]:
    """The builds that networks in float32 need."""
    found = []
    for build, _ in BUILDS:
        types = {value for name, value in build.defines if name in ("ELEMENT", "FROM", "TO")}
        if not types or "float" in types or build.source == "copy.cu":
            found.append(build)
    return found


@dataclass(frozen=True, slots=True)
class Compiled:
    """A build and its cubin in the cache. registers: of its hungriest kernel, 0 if it was in the cache before."""

    build: Build
    path: str
    cached: bool
    seconds: float
    registers: int = 0
    spills: int = 0
    error: str = ""


def compile_one(build: Build, arch: str) -> Compiled:
    """Compiles the build into the cache; an exception becomes ``error``."""
    start = time.perf_counter()
    try:
        path = compiler.cubin_path(build, arch)
        cubin, log = compiler.compile_with_log(build, arch)
        compiler.store(path, cubin)
    except Exception as error:
        return Compiled(build, "", False, time.perf_counter() - start, error=f"{type(error).__name__}: {error}")
    registers = max((int(n) for n in re.findall(r"Used (\d+) registers", log)), default=0)
    spills = sum(int(n) for n in re.findall(r"(\d+) bytes spill stores", log))
    return Compiled(build, str(path), False, time.perf_counter() - start, registers, spills)


def compile_builds(builds: Sequence[Build], arch: str) -> Iterator[Compiled]:
    """All of them, as they are ready: what is cached at once, the others in processes.

    Those are spawned, since CUDA does not survive a fork.
    """
    missing = []
    for build in builds:
        path = compiler.cubin_path(build, arch)
        if compiler.read_cubin(path) is None:
            missing.append(build)
        else:
            yield Compiled(build, str(path), True, 0.0)
    if missing:
        with ProcessPoolExecutor(min(available_cpus(), len(missing)), multiprocessing.get_context("spawn")) as pool:
            for done in as_completed([pool.submit(compile_one, build, arch) for build in missing]):
                yield done.result()


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes one line per build that was compiled, and their sum; 1 if one does not compile or spills."""
    args = dry.parse(__doc__, arguments)
    with Recorder("builds", dry=args.dry) as out:
        builds = float_builds()
        if args.dry:
            builds, arch = [b for b in builds if b.source in ("cast.cu", "conv2d_pack.cu")][:2], "sm_90"
            try:
                __import__("cupy").cuda.nvrtc.getVersion()
            except Exception as error:
                out.skip("builds", f"CuPy or NVRTC is not installed: {type(error).__name__}")
                return out.rate()
        else:
            properties = backend._LAUNCHER._properties
            arch = binding.architecture(properties["major"], properties["minor"])
        start, cached = time.perf_counter(), 0
        for done in compile_builds(builds, arch):
            cached += done.cached
            if done.error:
                out.line("build", str(done.build), error=done.error[:500], ok=False)
            elif not done.cached:
                out.line(
                    "build", str(done.build), seconds=round(done.seconds, 2), registers=done.registers, spills=done.spills,
                    ok=done.spills == 0,
                )  # fmt: skip
        version = "by the installed NVRTC" if args.dry else ".".join(map(str, binding.nvrtc().getVersion()))
        out.line("all", time.perf_counter() - start, "s", arch=arch, builds=len(builds), cached=cached, nvrtc=version)
    return out.rate()


if __name__ == "__main__":
    sys.exit(main())
