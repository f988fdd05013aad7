"""The only module that imports CuPy; whether this machine, process and thread can use CUDA; CUDA's errors as kigraph's.

CuPy is used as a thin binding of the driver, the runtime and NVRTC; none of its own kernels run.

One process uses one device: the one that was current when CUDA was first used. Another current device, a child that
was forked after CUDA was used, and a context that a faulty kernel destroyed are refused here, with the remedy.
"""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import dataclass
from typing import Any

from ..backends import NO_DRIVER, Status
from ..devices import after_giving_back
from ..errors import BackendError, DeviceError, KigraphError, OutOfMemoryError

__all__ = ["State", "architecture", "cupy", "driver", "enter", "failure", "nvrtc", "pinned", "probe"]

_CHOOSE = "or choose another backend, for example KIGRAPH_BACKEND=cython"
_INSTALL = f"pip install 'kigraph[cupy]', {_CHOOSE}"
_DRIVER = NO_DRIVER.remedy
#: cp.async and mma.sync on tf32 and bf16 came with it.
_LEAST_CAPABILITY = (8, 0)
#: cudaErrorMemoryAllocation.
_NO_MEMORY = 2
#: Errors that a kernel or the device raised: CUDA reports them at some later call, and the context is gone for good. 214 and
#: 220 uncorrectable errors of memory and NVLink, 226 contained error, 700 illegal address, 702 time-out, 709 context destroyed,
#: 710 assert, 714 to 719 faults of instructions and addresses, 721 leaked tensor memory, 810 MPS client ended. The
#: runtime's and the driver's numbers agree.
_STICKY = frozenset((214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810))
#: cudaErrorInitializationError: what every call gives in a child that was forked after somebody else used CUDA.
_NOT_INITIALIZED = 3
_FORKED = (
    "if this process was forked after CUDA was used, start it by 'spawn' or 'forkserver'; else check the driver with "
    "nvidia-smi"
)
_RESTART = "Remedy: restart the process; to find the step, run it again with KIGRAPH_CUPY_SYNC=1"
_SPAWN = (
    "CUDA was used before this process was forked, and cannot be used in the child. Remedy: start children by 'spawn' or "
    "'forkserver' (multiprocessing.set_start_method), use the GPU only after forking, or choose another backend in the "
    "child, for example KIGRAPH_BACKEND=cython"
)


@dataclass(slots=True)
class State:
    """What this process did with CUDA. ``blocked``: why it can use CUDA no more, with the remedy."""

    used: bool = False
    device: int | None = None
    blocked: str = ""


#: Replaced as a whole by tests.
STATE = State()
_CHOOSING = threading.Lock()


def _in_child() -> None:
    if STATE.used and not STATE.blocked:
        STATE.blocked = _SPAWN


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def cupy() -> Any:
    return importlib.import_module("cupy")


def driver() -> Any:
    """CuPy's binding of the driver."""
    return importlib.import_module("cupy_backends.cuda.api.driver")


def nvrtc() -> Any:
    """CuPy's binding of the run-time compiler."""
    return cupy().cuda.nvrtc


def architecture(major: int, minor: int) -> str:
    """NVRTC's name of the architecture of a device: 'sm_90'."""
    return f"sm_{major}{minor}"


def probe() -> Status:
    """Whether CuPy, a driver, a GPU of compute capability 8.0 and NVRTC are there. Never raises."""
    if STATE.blocked:
        reason, _, remedy = STATE.blocked.partition(" Remedy: ")
        return Status(False, reason, remedy)
    try:
        module = cupy()
    except Exception as error:
        return Status(False, f"CuPy cannot be imported: {error}", _INSTALL)
    runtime = module.cuda.runtime
    try:
        if runtime.driverGetVersion() == 0:
            return NO_DRIVER
        count = runtime.getDeviceCount()
        STATE.used = True  # from here on a forked child cannot use CUDA
        if count == 0:
            return Status(
                False,
                "no CUDA device: the driver reports none",
                f"make a GPU visible (CUDA_VISIBLE_DEVICES), {_CHOOSE}",
            )
        properties = runtime.getDeviceProperties(runtime.getDevice())
        name = properties["name"].decode()
        capability = (properties["major"], properties["minor"])
        if capability < _LEAST_CAPABILITY:
            found = ".".join(map(str, capability))
            return Status(
                False,
                f"{name} has compute capability {found}; 8.0 (Ampere) or newer is needed",
                f"use a newer GPU, {_CHOOSE}",
            )
    except Exception as error:
        forked = getattr(error, "status", None) == _NOT_INITIALIZED
        return Status(False, f"no CUDA device can be used: {error}", f"{_FORKED}, {_CHOOSE}" if forked else _DRIVER)
    try:
        version = ".".join(map(str, nvrtc().getVersion()))
    except Exception as error:
        return Status(
            False, f"the run-time compiler NVRTC cannot be loaded: {error}", f"pip install nvidia-cuda-nvrtc, {_CHOOSE}"
        )
    detail = f"{name}, {architecture(*capability)}, {properties['multiProcessorCount']} multiprocessors, CuPy {module.__version__}, NVRTC {version}"
    return Status(True, detail)


def enter() -> None:
    """Before every use of CUDA; the first one chooses the process's device. BackendError or DeviceError if it cannot be used."""
    if STATE.blocked:
        raise (BackendError if STATE.blocked is _SPAWN else DeviceError)(f"backend cupy: {STATE.blocked}")
    try:
        current = cupy().cuda.runtime.getDevice()
    except Exception as error:
        if getattr(error, "status", None) in _STICKY:  # any call may report an earlier kernel's fault
            raise failure(error, "querying the current device") from error
        status = probe()
        raise BackendError(
            f"backend cupy cannot be used on this machine: {status.detail if status.remedy else error}. "
            f"Remedy: {status.remedy or _DRIVER}"
        ) from error
    if current != STATE.device:
        with _CHOOSING:
            if STATE.device is None:
                STATE.used, STATE.device = True, current
        if current != STATE.device:
            raise BackendError(
                f"backend cupy uses CUDA device {STATE.device} in this process, and the current device of this thread is "
                f"{current}; one process uses one device. Remedy: call cupy.cuda.Device({STATE.device}).use() in this "
                f"thread, or start another process with CUDA_VISIBLE_DEVICES={current}"
            )


def pinned(nbytes: int) -> Any:
    """Page-locked host memory of CuPy's pool; idle memory is released before it fails."""
    cuda = cupy().cuda

    def allocate() -> Any:
        try:
            return cuda.alloc_pinned_memory(nbytes)
        except Exception as error:
            if isinstance(error, MemoryError) or getattr(error, "status", None) == _NO_MEMORY:
                raise OutOfMemoryError(
                    f"backend cupy: {nbytes:,} bytes of page-locked main memory cannot be had: {error}. Remedy: run a "
                    "smaller batch, or free main memory"
                ) from error
            raise failure(error, f"allocating {nbytes:,} bytes of page-locked main memory") from error

    return after_giving_back(allocate, lambda: cupy().get_default_pinned_memory_pool().free_all_blocks())


def failure(error: Exception, doing: str) -> KigraphError:
    """kigraph's error for what CuPy raised while ``doing`` ("launching conv2d_bf16"). Records a lost context."""
    if isinstance(error, KigraphError):
        return error
    status = getattr(error, "status", None)
    if isinstance(error, MemoryError) or status == _NO_MEMORY:
        return OutOfMemoryError(f"backend cupy: {doing}: {error}{_memory()}")
    if status in _STICKY:
        if not STATE.blocked:
            STATE.blocked = f"the CUDA context of this process is lost since {error}. {_RESTART}"
        return DeviceError(f"{error}; the CUDA context is lost. {_RESTART}", deferred=True)
    return DeviceError(f"backend cupy: {doing}: {error}")


def _memory() -> str:
    """How much of the device's memory is free, and what can be done."""
    remedy = (
        ". Remedy: run a smaller batch, close other sessions and processes that use the GPU (nvidia-smi lists them), or "
        "choose another backend, for example KIGRAPH_BACKEND=cython"
    )
    try:
        free, total = cupy().cuda.runtime.memGetInfo()
    except Exception:
        return remedy
    return f"; {free / 1e6:,.0f} of the device's {total / 1e6:,.0f} MB are free{remedy}"
