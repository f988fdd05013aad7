"""Every CUDA source compiles by NVRTC for the architectures that we name, without spills; needs no GPU."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kigraph.kernels.cupy import compiler
from kigraph.kernels.cupy.compiler import SOURCES, compile_cubin, compile_with_log, read_sources
from kigraph.kernels.cupy.launch import Build
from kigraph.kernels.cupy.table import BUILDS
from kigraph.kernels.errors import KernelError

pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'kigraph[cupy]'")


def nvrtc_works() -> bool:
    from kigraph.kernels.cupy.runtime import nvrtc

    try:
        nvrtc().getVersion()
    except Exception:
        return False
    return True


pytestmark = pytest.mark.skipif(not nvrtc_works(), reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc")

#: Ampere, Hopper (data centre) and Blackwell; consumer cards of a generation run the same code.
EVERYWHERE = ("sm_80", "sm_90", "sm_100")
#: Kernels that may use a stack: sine and cosine of huge arguments, and double-precision erf, in NVIDIA's library.
STACK_ALLOWED = {"sin_", "cos_", "erf_"}


def pairs() -> list[object]:
    """All builds for Hopper; those of float32 for the others."""
    found: list[object] = []
    for build, names in BUILDS:
        types = {value for name, value in build.defines if name in ("ELEMENT", "FROM")}
        usual = not types or "float" in types
        for arch in EVERYWHERE if usual else ("sm_90",):
            found.append(pytest.param(build, names, arch, id=f"{build}-{arch}".replace(" ", "-")))
    return found


@pytest.mark.parametrize(("build", "names", "arch"), pairs())
def test_compiles_without_spills(build: Build, names: tuple[str, ...], arch: str) -> None:
    cubin, log = compile_with_log(build, arch)
    assert cubin[:4] == b"\x7fELF"
    assert sorted(re.findall(r"Compiling entry function '(\w+)'", log)) == sorted(names)
    usage = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads",
        log,
        re.DOTALL,
    )
    assert len(usage) == len(names)
    for name, stack, stores, loads in usage:
        assert (stores, loads) == ("0", "0"), name
        assert stack == "0" or name in STACK_ALLOWED, name


def test_every_source_is_built() -> None:
    assert {build.source for build, _ in BUILDS} == {p.name for p in SOURCES.glob("*.cu")}
    used = {name for build, _ in BUILDS for name in read_sources(build.source)}
    assert {p.name for p in SOURCES.glob("*.cuh")} <= used


def test_builds_are_listed_once() -> None:
    builds = [build for build, _ in BUILDS]
    assert len(set(builds)) == len(builds)


def test_instructions_are_written_in_one_place() -> None:
    """Inline assembly and CUDA's own words only in ptx.cuh, which the emulation replaces."""
    words = re.compile(r"\basm\b|__syncthreads|__shfl|__shared__|__cvta|<<<")
    found = {p.name for p in SOURCES.iterdir() if words.search(p.read_text())}
    assert found == {"ptx.cuh"}


@pytest.fixture
def broken(tmp_path: Path) -> Build:
    (tmp_path / "broken.cu").write_text("#include <ptx.cuh>\nKERNEL void f(float *x) { x[0] = oops; }\n")
    return Build(str(tmp_path / "broken.cu"), (("MODE", 3),))


def test_an_error_has_the_compilers_log(broken: Build) -> None:
    with pytest.raises(KernelError, match=r'MODE=3 does not compile for sm_90.*\n.*"oops" is undefined'):
        compile_with_log(broken, "sm_90")


def test_cubins_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
    calls = []

    def counted(build: Build, arch: str) -> tuple[bytes, str]:
        calls.append((build, arch))
        return compile_with_log(build, arch)

    monkeypatch.setattr(compiler, "compile_with_log", counted)
    build = Build("cast.cu", (("FROM", "float"), ("TO", "int")))
    first = compile_cubin(build, "sm_80")
    assert compile_cubin(build, "sm_80") == first
    assert calls == [(build, "sm_80")]
    other = Build("cast.cu", (("FROM", "float"), ("TO", "short")))
    assert compile_cubin(build, "sm_90") != first != compile_cubin(other, "sm_80")
    assert len(calls) == 3
    names = sorted(p.name for p in (tmp_path / "cupy").iterdir())
    assert len(names) == 3
    assert all(re.fullmatch(r"cast-sm_[89]0-[0-9a-f]{32}\.cubin", name) for name in names)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(blocked))
    assert compile_cubin(Build("cast.cu", (("FROM", "float"), ("TO", "int"))), "sm_80")[:4] == b"\x7fELF"
