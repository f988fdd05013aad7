"""Every CUDA source compiles by NVRTC for the architectures that we name, without spills; needs no GPU."""

from __future__ import annotations

import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from kigraph.kernels.cache_files import write_sealed
from kigraph.kernels.cupy import compiler, implicit_gemm
from kigraph.kernels.cupy.compiler import SOURCES, compile_cubin, compile_with_log, read_sources
from kigraph.kernels.cupy.elf import check_whole, completed
from kigraph.kernels.cupy.launch import Build
from kigraph.kernels.cupy.table import BUILDS
from kigraph.kernels.errors import KernelError

pytest.importorskip("cupy", reason="CuPy is not installed: pip install 'kigraph[cupy]'")


def nvrtc_works() -> bool:
    from kigraph.kernels.cupy.binding import nvrtc

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
#: The NVRTC that PyTorch 2.11 brings along, so that of many machines; `make test` puts it there.
OLDER = Path(sys.prefix, "nvrtc-13.0.88", "nvidia", "cu13", "lib")


def elf_end(cubin: bytes) -> int:
    """Where the tables of an ELF64 file end; in a cubin nothing follows them."""
    programs, sections = struct.unpack_from("<QQ", cubin, 32)
    _, program_entry, program_count, section_entry, section_count = struct.unpack_from("<HHHHH", cubin, 52)
    return max(programs + program_entry * program_count, sections + section_entry * section_count)


def pairs() -> list[object]:
    """All builds for Hopper; those of float32 for the others."""
    found: list[object] = []
    for build, names in BUILDS:
        types = {value for name, value in build.defines if name in ("ELEMENT", "FROM")}
        usual = not types or "float" in types
        for arch in EVERYWHERE if usual else ("sm_90",):
            found.append(pytest.param(build, names, arch, id=f"{build}-{arch}".replace(" ", "-")))
    return found


def check_compiled(names: tuple[str, ...], cubin: bytes, log: str) -> None:
    """The cubin is whole, and the log tells of these kernels that none of them spills."""
    assert cubin[:4] == b"\x7fELF"
    assert elf_end(cubin) == len(cubin)
    assert sorted(re.findall(r"Compiling entry function '(\w+)'", log)) == sorted(names)
    usage = re.findall(
        r"Compiling entry function '(\w+)'.*?"
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads",
        log,
        re.DOTALL,
    )
    assert len(usage) == len(names)
    for name, stack, stores, loads in usage:
        assert (stores, loads) == ("0", "0"), name
        assert stack == "0" or name in STACK_ALLOWED, name


@pytest.mark.parametrize(("build", "names", "arch"), pairs())
def test_compiles_without_spills(build: Build, names: tuple[str, ...], arch: str) -> None:
    check_compiled(names, *compile_with_log(build, arch))


#: CuPy takes the NVRTC that is loaded already: this one, if it comes first.
COMPILE_BY = """
import ctypes, pickle, sys
for library in sys.argv[1:]:
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
from kigraph.kernels.cupy.binding import nvrtc
from kigraph.kernels.cupy.compiler import compile_with_log
wanted = pickle.load(sys.stdin.buffer)
pickle.dump((nvrtc().getVersion(), [compile_with_log(*pair) for pair in wanted]), sys.stdout.buffer)
"""


@pytest.mark.skipif(not OLDER.is_dir(), reason=f"no second NVRTC: {OLDER} is missing; make test installs it")
@pytest.mark.parametrize("arch", EVERYWHERE)
def test_hot_builds_compile_without_spills_by_the_older_compiler(arch: str) -> None:
    libraries = [*sorted(OLDER.glob("libnvrtc-builtins.so.*")), OLDER / "libnvrtc.so.13"]
    done = subprocess.run(
        [sys.executable, "-c", COMPILE_BY, *map(str, libraries)],
        input=pickle.dumps([(build, arch) for build, _ in implicit_gemm.BUILDS]),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    version, results = pickle.loads(done.stdout)
    assert version == (13, 0)
    for (build, names), (cubin, log) in zip(implicit_gemm.BUILDS, results, strict=True):
        try:
            check_compiled(names, cubin, log)
        except AssertionError as error:
            raise AssertionError(f"{build} for {arch}: {error}") from error


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


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda cubin: b"",
    "half": lambda cubin: cubin[: len(cubin) // 2],
    "without its last byte": lambda cubin: cubin[:-1],
    "its header alone": lambda cubin: cubin[:64],
    "garbage": lambda cubin: bytes(range(256)) * (len(cubin) // 256),
    "for another machine": lambda cubin: cubin[:18] + b"\x3e\x00" + cubin[20:],
    "a tail of zeros": lambda cubin: cubin[: len(cubin) // 2].ljust(len(cubin), b"\0"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_in_the_cache_is_replaced(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
    build = Build("cast.cu", (("FROM", "float"), ("TO", "int")))
    whole = compile_cubin(build, "sm_80")
    (path,) = (tmp_path / "cupy").iterdir()
    sealed = path.read_bytes()
    for broken in (DAMAGE[damage](sealed), sealed[:1000] + bytes([sealed[1000] ^ 4]) + sealed[1001:]):
        path.write_bytes(broken)
        assert compile_cubin(build, "sm_80") == whole
        assert path.read_bytes() == sealed
    write_sealed(path, DAMAGE[damage](whole))
    assert compile_cubin(build, "sm_80") == whole
    path.chmod(0o666)  # others may have written it
    assert compile_cubin(build, "sm_80") == whole
    assert path.stat().st_mode & 0o022 == 0
    assert len(list((tmp_path / "cupy").iterdir())) == 1


def test_files_of_the_time_before_whole_cubins_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(tmp_path))
    build = Build("cast.cu", (("FROM", "float"), ("TO", "int")))
    compile_cubin(build, "sm_80")
    (path,) = (tmp_path / "cupy").iterdir()
    version = ".".join(map(str, compiler._nvrtc().getVersion()))
    old = compiler.digest(read_sources("cast.cu"), build, "sm_80", version, compiler._OPTIONS)
    assert path.name != f"cast-sm_80-{old}.cubin"


@pytest.fixture(scope="module")
def cubin() -> bytes:
    return compile_with_log(Build("cast.cu", (("FROM", "float"), ("TO", "int"))), "sm_90")[0]


def test_the_byte_that_cupy_drops_comes_back(cubin: bytes) -> None:
    assert completed(cubin) == cubin
    assert completed(cubin[:-1]) == cubin
    check_whole(cubin)
    for data, message in (
        (cubin[:-2], r"whose headers end at byte \d+"),
        (cubin[:40], "expected a little-endian ELF64 file"),
        (b"// PTX" + cubin[6:], "expected a little-endian ELF64 file"),
        (cubin[:18] + b"\x3e\x00" + cubin[20:], r"for machine 62; expected 190 \(CUDA\)"),
        (cubin[:54] + b"\x20\x00" + cubin[56:], "program headers of 32 bytes"),
    ):
        with pytest.raises(ValueError, match=message):
            completed(data)
    with pytest.raises(
        ValueError, match=f"{len(cubin) - 1} bytes of an ELF file whose headers end at byte {len(cubin)}"
    ):
        check_whole(cubin[:-1])


def test_a_byte_of_the_contents_is_not_made_up(cubin: bytes) -> None:
    """The last section's own headers say that it goes one byte further than the file."""
    (sections,) = struct.unpack_from("<Q", cubin, 40)
    at = sections + 64  # section 1: names
    (offset,) = struct.unpack_from("<Q", cubin, at + 24)
    longer = bytearray(cubin)
    struct.pack_into("<Q", longer, at + 32, len(cubin) + 1 - offset)
    with pytest.raises(ValueError, match=f"whose contents end at byte {len(cubin) + 1}"):
        completed(bytes(longer))


def test_a_compiler_that_gives_half_a_cubin_is_refused(cubin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = compiler._nvrtc()
    names = ("createProgram", "compileProgram", "destroyProgram", "getProgramLog", "NVRTCError")
    broken = SimpleNamespace(**{n: getattr(real, n) for n in names}, getCUBIN=lambda program: cubin[:1000])
    monkeypatch.setattr(compiler, "_nvrtc", lambda: broken)
    with pytest.raises(KernelError, match=r"NVRTC's cubin of cast.cu .* for sm_90 is not whole: 1000 bytes"):
        compile_with_log(Build("cast.cu", (("FROM", "float"), ("TO", "int"))), "sm_90")


NVDISASM = next((p for f in sys.path for p in Path(f or ".").glob("nvidia/cu*/bin/nvdisasm")), None)


@pytest.mark.skipif(NVDISASM is None, reason="no nvdisasm: pip install nvidia-cuda-nvdisasm")
@pytest.mark.parametrize("source", sorted({build.source for build, _ in BUILDS}))
def test_nvidias_disassembler_reads_cubins(source: str, tmp_path: Path) -> None:
    build, names = next((build, names) for build, names in BUILDS if build.source == source)
    path = tmp_path / "kernel.cubin"
    path.write_bytes(compile_with_log(build, "sm_90")[0])
    done = subprocess.run([str(NVDISASM), "-c", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(re.findall(r"^\.text\.(\w+):", done.stdout, re.MULTILINE)) == sorted(names)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("KIGRAPH_CACHE_DIR", str(blocked))
    assert compile_cubin(Build("cast.cu", (("FROM", "float"), ("TO", "int"))), "sm_80")[:4] == b"\x7fELF"
