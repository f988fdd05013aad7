"""HostLauncher: the launcher that runs CUDA sources on the CPU, one thread block at a time."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..cache_files import UnsafeFileError, read_sealed
from ..cupy.compiler import SOURCES, cache_folder, digest, read_sources, store
from ..cupy.launch import Build, Function, Launch, Launcher, using_launcher
from ..cupy.table import KERNELS
from ..devices import HOST, HostDevice
from ..errors import BackendError, KernelError
from ..kernel import Constants, Kernel, Prepared, Query, Run
from ..tensor import Array

__all__ = [
    "FORWARD",
    "SCHEDULES",
    "HostLauncher",
    "Schedule",
    "Statistics",
    "compiler",
    "kernel_table",
    "library",
    "run_emulated",
    "sees_plain_accesses",
]

_HERE = Path(__file__).parent
# _longjmp between stacks is what a fiber switch is; fortified longjmp refuses it.
_FLAGS = (
    "-std=c++17",
    "-O1",
    "-fPIC",
    "-w",
    "-ffp-contract=off",
    "-U_FORTIFY_SOURCE",
    "-fcf-protection=none",
)
#: Each memory access is preceded by a call, of which hooks.cuh makes a race detector.
_INSTRUMENTED = "-fsanitize=thread"
_HEADERS = ("ptx.cuh", "block.cuh", "races.cuh", "hooks.cuh")


@dataclass(frozen=True, slots=True)
class Schedule:
    """In which order blocks run and the threads of a block take turns, and when asynchronous copies happen.

    With ``races``, two accesses to shared memory that nothing orders are an error; without, their outcome is seen.
    """

    order: Literal["forward", "backward", "shuffled"] = "forward"
    copies: Literal["late", "early", "random"] = "late"
    seed: int = 1
    blocks: Literal["forward", "backward", "shuffled"] = "forward"
    races: bool = True


FORWARD = Schedule()
SCHEDULES = (
    FORWARD,
    Schedule("backward", "early", blocks="backward"),
    Schedule("shuffled", "random", blocks="shuffled"),
)

_ORDERS = {"forward": 0, "backward": 1, "shuffled": 2}
_COPIES = {"late": 0, "early": 1, "random": 2}


@dataclass(slots=True)
class Statistics:
    """Sums over the launches of a launcher."""

    launches: int = 0
    barriers: int = 0
    collectives: int = 0
    bank_conflicts: int = 0
    kernels: set[str] = field(default_factory=set)


class _Dim3(ctypes.Structure):
    _fields_ = (("x", ctypes.c_uint), ("y", ctypes.c_uint), ("z", ctypes.c_uint))


class _Settings(ctypes.Structure):
    """Mirrors emulation::Settings of block.cuh."""

    _fields_ = (
        ("grid", _Dim3),
        ("block", _Dim3),
        ("shared_bytes", ctypes.c_uint),
        ("order", ctypes.c_int),
        ("seed", ctypes.c_uint),
        ("copies", ctypes.c_int),
        ("blocks", ctypes.c_int),
        ("races", ctypes.c_int),
        ("barriers", ctypes.c_longlong),
        ("collectives", ctypes.c_longlong),
        ("bank_conflicts", ctypes.c_longlong),
        ("error", ctypes.c_char * 400),
    )


@cache
def compiler() -> tuple[str, str]:
    """The host compiler (CXX, else g++ or c++) and its version; BackendError if there is none."""
    for name in filter(None, (os.environ.get("CXX"), "g++", "c++")):
        path = shutil.which(name)
        if path:
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            return path, version.splitlines()[0]
    raise BackendError("the emulation of CUDA kernels needs a C++17 compiler. Remedy: install g++")


def _compile(arguments: Sequence[str | Path], what: object) -> None:
    done = subprocess.run([compiler()[0], *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernelError(f"{what} does not compile for the host:\n{done.stderr}")


@cache
def sees_plain_accesses() -> bool:
    """Whether the host compiler instruments memory accesses (g++ and clang++ do); else only accesses by the functions
    of ptx.cuh (cp.async, ldmatrix, 16-byte loads and stores) take part in the search for races.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "probe.cpp", Path(folder) / "probe.o"
        source.write_text("void probe(int* p) { *p = 1; }\n", encoding="utf-8")
        try:
            _compile(["-O1", _INSTRUMENTED, "-c", source, "-o", output], source.name)
        except KernelError:
            return False
        return b"__tsan_write4" in output.read_bytes()


@cache
def library(build: Build) -> ctypes.CDLL:
    """The build as a shared library of the host, from the cache or compiled and put there."""
    version = compiler()[1]
    texts = read_sources(build.source)
    shared = any("SHARED_MEMORY(" in text for header, text in texts.items() if header != "ptx.cuh")
    texts |= {header: (_HERE / header).read_text(encoding="utf-8") for header in _HEADERS}
    flags = (*_FLAGS, *(f"-D{name}={value}" for name, value in build.defines))
    if shared and sees_plain_accesses():
        flags = (*flags, _INSTRUMENTED)
    name = f"{Path(build.source).stem}-{digest(texts, version, flags)}.so"
    target = cache_folder("emulation") / name
    if not _intact(target):
        with tempfile.TemporaryDirectory() as folder:
            unit, output = Path(folder) / "unit.o", Path(folder) / name
            include = (f"-I{_HERE}", f"-I{SOURCES}")
            _compile([*flags, *include, "-x", "c++", "-c", SOURCES / build.source, "-o", unit], build)
            # Linked apart: with the flag of the instrumentation the compiler would link libtsan.
            _compile(["-shared", unit, "-o", output], build)
            store(target, output.read_bytes())
    return ctypes.CDLL(str(target))


def _intact(path: Path) -> bool:
    try:
        read_sealed(path, 1 << 30)
    except (OSError, UnsafeFileError):
        return False
    return True


def _kind(argument: Any) -> str:
    if isinstance(argument, ctypes.Structure):
        return "s"
    if isinstance(argument, ctypes.c_void_p):
        return "p"
    return "f" if isinstance(argument, ctypes.c_float | ctypes.c_double) else "i"


def _check_arguments(library: ctypes.CDLL, launch: Launch) -> None:
    name = launch.function.name
    kinds = ctypes.create_string_buffer(64)
    sizes = (ctypes.c_int * 64)()
    count = getattr(library, f"parameters_of_{name}")(kinds, sizes)
    wanted = [(kinds.raw[i : i + 1].decode(), sizes[i]) for i in range(count)]
    given = [(_kind(a), ctypes.sizeof(a)) for a in launch.arguments]
    if wanted != given:
        raise KernelError(f"{launch.function.build}: {name} takes parameters {wanted}, the launch gives {given}")


#: One launch at a time in the whole process: a library's emulated block is global.
_LOCK = threading.Lock()


def run_emulated(
    function: Function, grid: tuple[int, int, int], threads: int, shared_bytes: int, table: int, schedule: Schedule
) -> _Settings:
    """cuLaunchKernel: ``table`` is the address of the parameters' addresses. Raises KernelError for what went wrong."""
    state = _Settings(
        grid=_Dim3(*grid),
        block=_Dim3(threads, 1, 1),
        shared_bytes=shared_bytes,
        order=_ORDERS[schedule.order],
        copies=_COPIES[schedule.copies],
        blocks=_ORDERS[schedule.blocks],
        races=schedule.races,
        seed=schedule.seed,
    )
    with _LOCK:
        getattr(library(function.build), f"emulated_{function.name}")(ctypes.c_void_p(table), ctypes.byref(state))
    if state.error:
        raise KernelError(f"emulation of {function.name} ({function.build}): {state.error.decode()}")
    return state


class HostLauncher:
    """A Launcher over NumPy arrays."""

    def __init__(self, schedule: Schedule = FORWARD, multiprocessors: int = 4) -> None:
        self.schedule = schedule
        self.statistics = Statistics()
        self._multiprocessors = multiprocessors

    @property
    def device(self) -> HostDevice:
        return HOST

    @property
    def multiprocessors(self) -> int:
        return self._multiprocessors

    def address(self, array: Array) -> int:
        if not isinstance(array, np.ndarray):
            raise KernelError(f"the emulation takes NumPy arrays, got {type(array).__name__}")
        return int(array.ctypes.data)

    def bind(self, launches: Sequence[Launch], keep: Sequence[Any]) -> Run:
        for launch in launches:
            _check_arguments(library(launch.function.build), launch)

        def run() -> None:
            for launch in launches:
                self._run(launch)

        run.keep = tuple(keep)  # type: ignore[attr-defined]
        return run

    def _run(self, launch: Launch) -> None:
        state = run_emulated(
            launch.function,
            launch.grid,
            launch.threads,
            launch.shared_bytes,
            ctypes.addressof(launch.table),
            self.schedule,
        )
        self.statistics.launches += 1
        self.statistics.barriers += state.barriers
        self.statistics.collectives += state.collectives
        self.statistics.bank_conflicts += state.bank_conflicts
        self.statistics.kernels.add(launch.function.name)


def kernel_table(launcher: HostLauncher | Launcher) -> tuple[Kernel, ...]:
    """The kernels of the backend, to be prepared for that launcher."""

    def prepare(kernel: Kernel, query: Query, constants: Constants) -> Prepared:
        assert kernel.prepare is not None
        with using_launcher(launcher):
            return kernel.prepare(query, constants)

    return tuple(replace(kernel, prepare=partial(prepare, kernel)) for kernel in KERNELS)
