"""The one table of backends, and which of them a caller has chosen.

Precedence: argument > ``with using_backend(...)`` > ``set_backend()`` > KIGRAPH_BACKEND > auto.
One name is strict. A comma-separated list is an order of preference. There is never a silent fallback.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import settings
from .composites import completed
from .devices import Device
from .errors import BackendError, SettingsError
from .half import widening
from .records import dataclass
from .rounded import rounding

if TYPE_CHECKING:
    from .contracts.base import Contract
    from .kernel import Kernel, Roof

__all__ = [
    "BACKENDS",
    "HOST_FAMILY",
    "NO_DRIVER",
    "REFERENCE",
    "Backend",
    "Choice",
    "Status",
    "available_backends",
    "backend_names",
    "can_load",
    "compiled",
    "get_backend",
    "resolve_choice",
    "roof_of",
    "set_backend",
    "using_backend",
]

#: Name under which the shared CPU family appears in explain(); it cannot be chosen as a backend.
HOST_FAMILY = "host"
#: The backend that defines the truth; constants are folded with it.
REFERENCE = "numpy"


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a backend can be used here; if not, why, and what to do about it."""

    available: bool
    detail: str
    remedy: str = ""


#: Both what is said without importing CuPy and what CuPy's runtime leads to.
NO_DRIVER = Status(
    False,
    "no CUDA device: no NVIDIA driver is installed (libcuda was not found)",
    "install an NVIDIA driver for CUDA 13 or newer and check it with nvidia-smi, or choose another backend, for example "
    "KIGRAPH_BACKEND=cython",
)


def can_load(libraries: Sequence[str]) -> bool:
    """Whether the system's loader finds one of these shared libraries."""
    import ctypes

    for library in libraries:
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return True
    return False


@dataclass(frozen=True, slots=True)
class Backend:
    """One line of the table. ``module`` has KERNELS, DEVICE, probe(), perhaps PRECISIONS, lacks(), ROUNDS, STORES_BFLOAT16, FUSES_CHAINS, WIDENS_HALF, target(), roof(); imported when first needed."""

    name: str
    module: str
    summary: str
    #: What to run when the import of ``module`` fails.
    remedy: str
    #: The package that it depends on, if that may be missing.
    needs: str = ""
    #: NVIDIA's driver library, under the names of the systems, if it depends on that.
    driver: tuple[str, ...] = ()
    #: The contracts outside the hot set of which it has kernels, so that others need no import of it; None: not known.
    beyond: frozenset[str] | None = None

    def installed(self) -> bool:
        """Whether the package that it needs can be found; nothing is imported."""
        try:
            return not self.needs or importlib.util.find_spec(self.needs) is not None
        except ImportError:  # an importer of the application forbids it
            return False

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)

    def status(self) -> Status:
        """Asks the backend's own probe(); an import error is a reason, too."""
        with _STATUS_LOCK:
            if self.name not in _STATUS:
                _STATUS[self.name] = self._probe()
            return _STATUS[self.name]

    def diagnosis(self) -> Status:
        """As ``status()``, for people: without a driver the module is asked, too, for more may be wrong than that."""
        status = self.status()
        return self._asked() if status is NO_DRIVER else status

    def _probe(self) -> Status:
        if not self.installed():  # importing cupy's module to find that out takes 11 ms
            return Status(False, f"import failed: the package {self.needs} is not installed", self.remedy)
        if self.driver and not can_load(self.driver):  # importing CuPy to find that out takes 100 ms
            return NO_DRIVER
        return self._asked()

    def _asked(self) -> Status:
        try:
            status = self.load().probe()
        except SettingsError:
            raise  # the user's mistake, not a property of the machine
        except ImportError as error:
            return Status(False, f"import failed: {error}", self.remedy)
        except Exception as error:  # a broken plug-in is a backend that cannot be used, not an error of everything
            return Status(False, f"its probe failed: {type(error).__name__}: {error}", self.remedy)
        return status if isinstance(status, Status) else Status(False, f"probe() returned {status!r}", self.remedy)

    def may_serve(self, contract: Contract[Any], strings: bool) -> bool:
        """False: it has no kernel for the contract, which is known without an import; ``strings``: of tensors of strings."""
        return self.beyond is None or (not strings and (contract.hot or contract.name in self.beyond))

    def kernels(self) -> Sequence[Kernel]:
        """The module's own kernels, and what can be made of them (rounded.py, composites.py, half.py)."""
        module = self.load()
        own = (*module.KERNELS, *(rounding(module.KERNELS) if getattr(module, "ROUNDS", False) else ()))
        kernels = completed(own)
        return (*kernels, *widening(kernels)) if getattr(module, "WIDENS_HALF", False) else kernels

    def device(self) -> Device:
        device: Device = self.load().DEVICE
        return device

    def target(self) -> str:
        """The instruction set that its kernels use, if there is a choice: the module's ``target()``, else ''."""
        target = getattr(self.load(), "target", None)
        return str(target()) if callable(target) else ""

    def precisions(self) -> Sequence[str]:
        """Which precisions sessions on it may have: the module's ``PRECISIONS``, else fp32."""
        precisions: Sequence[str] = getattr(self.load(), "PRECISIONS", ("fp32",))
        return precisions

    def lacks(self, precision: str) -> str:
        """What the machine lacks for a precision that the backend would have: the module's ``lacks(precision)``, else ''."""
        return str(getattr(self.load(), "lacks", lambda precision: "")(precision))

    def roof(self, threads: int) -> Roof | None:
        """What its device can do at most: the module's ``roof(threads)``, which measures; None if it has none."""
        roof = getattr(self.load(), "roof", None)
        measured: Roof | None = roof(threads) if callable(roof) else None
        return measured


_STATUS: dict[str, Status] = {}
_STATUS_LOCK = threading.RLock()


def _forget_statuses() -> None:
    """In a forked child: a backend that was usable in the parent may not be usable here (CUDA)."""
    global _STATUS_LOCK
    _STATUS_LOCK = threading.RLock()  # a thread of the parent may have held it
    _STATUS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_statuses)

#: Contracts outside the hot set that numba has kernels for.
_OF_NUMBA = """
    batch_norm_statistics dequantize_linear elu erf erfc leaky_relu quantize_linear quantized_add quantized_average_pool
    quantized_conv2d quantized_depthwise_conv2d quantized_matmul quantized_mul requantize selu softsign
"""
#: Built-in backends, fastest first: this is the order of ``auto``.
BACKENDS: tuple[Backend, ...] = (
    Backend(
        "cupy", "kigraph.kernels.cupy", "CUDA kernels through CuPy", "pip install 'kigraph[cupy]'", "cupy",
        ("libcuda.so.1", "nvcuda.dll"),
    ),
    Backend("cython", "kigraph.kernels.cython", "C SIMD kernels behind Cython", "reinstall kigraph with a C compiler (gcc)"),
    Backend(
        "numba", "kigraph.kernels.numba", "loops compiled by Numba", "pip install 'kigraph[numba]'", "numba",
        beyond=frozenset(_OF_NUMBA.split()),
    ),
    Backend("numpy", "kigraph.kernels.numpy", "the reference: plain NumPy, slow", "pip install numpy"),
)  # fmt: skip

_HOST = Backend(
    HOST_FAMILY, "kigraph.kernels.host", "the shared CPU family: layout, casts, strings, images", "pip install kigraph"
)
_LOG = logging.getLogger("kigraph")
#: Choices that were logged; each is logged once per process.
_SAID: set[str] = set()
_GROUP = "kigraph.backends"
_PLUGINS: list[Backend] | None = None
_DEFAULT: str | None = None
_CONTEXT: ContextVar[str | None] = ContextVar("kigraph_backend", default=None)


def _plugins() -> list[Backend]:
    """Backends of other packages: entry points of the group 'kigraph.backends', name = module."""
    global _PLUGINS
    if _PLUGINS is None and not _plugins_declared():
        _PLUGINS = []
    if _PLUGINS is None:
        from importlib import metadata

        _PLUGINS = [
            Backend(
                e.name,
                e.value,
                f"plug-in of {e.dist.name if e.dist else 'an unknown package'}",
                f"check the package of {e.value}",
            )
            for e in metadata.entry_points(group=_GROUP)
        ]
    return _PLUGINS


def _plugins_declared() -> bool:
    """Whether an installed package names the group at all: importlib.metadata takes 15 to 25 ms to load and look."""
    for folder in sys.path:
        if os.path.isfile(folder):  # a zip archive
            return True
        try:
            with os.scandir(folder or ".") as entries:
                infos = [e.path for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for info in infos:
            try:
                with open(os.path.join(info, "entry_points.txt"), "rb") as file:
                    if _GROUP.encode() in file.read():
                        return True
            except OSError:
                continue
    return False


def backend_names() -> tuple[str, ...]:
    return tuple(b.name for b in (*BACKENDS, *_plugins()))


def get_backend(name: str) -> Backend:
    """The backend (or the host family) of that name."""
    ours = (b for b in (*BACKENDS, _HOST) if b.name == name)
    found = next(ours, None) or next((b for b in _plugins() if b.name == name), None)
    if found is not None:
        return found
    raise BackendError(f"unknown backend {name!r}; known: auto, {', '.join(backend_names())}")


def available_backends() -> tuple[str, ...]:
    """Names of the backends that can be used on this machine, fastest first."""
    return tuple(name for name in backend_names() if get_backend(name).status().available)


@functools.cache
def roof_of(device: str, threads: int) -> Roof | None:
    """The limits of a device by its name, measured once per process by the first backend on it that can; else None."""
    for name in backend_names():
        backend = get_backend(name)
        if backend.installed() and backend.status().available and backend.device().name == device:
            roof = backend.roof(threads)
            if roof is not None:
                return roof
    return None


@dataclass(frozen=True, slots=True)
class Choice:
    """A resolved choice: usable backends in order, what was skipped and why, and who said it."""

    order: tuple[str, ...]
    source: str
    strict: bool
    skipped: tuple[tuple[str, Status], ...] = ()

    def __str__(self) -> str:
        return f"{','.join(self.order)} ({'strict, ' if self.strict else ''}from {self.source})"


def set_backend(backend: str | None) -> None:
    """Sets the process-wide default choice; None returns to KIGRAPH_BACKEND."""
    global _DEFAULT
    if backend is not None:
        _parse(backend, "set_backend()")
    _DEFAULT = backend


@contextmanager
def using_backend(backend: str) -> Iterator[None]:
    """``with using_backend("numba"):`` sessions made inside use this choice (per thread and per async task)."""
    _parse(backend, "using_backend()")
    token = _CONTEXT.set(backend)
    try:
        yield
    finally:
        _CONTEXT.reset(token)


def _parse(text: str, source: str) -> list[str]:
    if not isinstance(text, str):
        raise BackendError(f"backend from {source} must be a string such as 'cython' or 'cupy,cython', got {text!r}")
    names = [part.strip() for part in text.split(",") if part.strip()]
    ours = ("auto", *(b.name for b in BACKENDS))
    for name in names:
        if name not in ours and name not in (known := ("auto", *backend_names())):
            raise BackendError(f"unknown backend {name!r} (from {source}); known: {', '.join(known)}")
    if not names:
        raise BackendError(f"no backend named (from {source}); known: auto, {', '.join(backend_names())}")
    if len(set(names)) != len(names) or ("auto" in names and len(names) > 1):
        raise BackendError(f"backend choice {text!r} (from {source}) names one twice, or mixes auto with others")
    return names


def resolve_choice(argument: str | None = None) -> Choice:
    """Applies the precedence and probes the chosen backends.

    Raises BackendError, with reason and remedy, if a strictly chosen backend cannot be used, or none of a list;
    SettingsError if an environment variable of kigraph has an invalid value.
    """
    text, source = settings.BACKEND.get(), settings.BACKEND.name
    if argument is not None:
        text, source = argument, "the argument"
    elif (context := _CONTEXT.get()) is not None:
        text, source = context, "using_backend()"
    elif _DEFAULT is not None:
        text, source = _DEFAULT, "set_backend()"
    elif text == "auto":
        source = "the default"
    names = _parse(text, source)
    for setting in settings.SETTINGS:
        if setting not in settings.SERVE:
            setting.get()  # an invalid value is an error here, whatever backend it concerns
    auto = names == ["auto"]
    usable: list[str] = []
    skipped: list[tuple[str, Status]] = []
    for name in backend_names() if auto else names:
        if auto and usable and get_backend(name).installed():
            usable.append(name)  # probed only when the backends before it lack a kernel: imports take time
            continue
        status = get_backend(name).status() if auto else get_backend(name).diagnosis()
        if status.available:
            usable.append(name)
        else:
            skipped.append((name, status))
    if not usable:
        reasons = "; ".join(f"{name}: {s.detail}. Remedy: {s.remedy}" for name, s in skipped)
        raise BackendError(
            f"backend {text!r} (from {source}) cannot be used on this machine. {reasons}. "
            f"Usable here: {', '.join(available_backends())}"
        )
    choice = Choice(tuple(usable), source, strict=not auto and len(names) == 1, skipped=tuple(skipped))
    if str(choice) not in _SAID:
        _SAID.add(str(choice))
        _LOG.info("backend %s%s", choice, "".join(f"; not {name}: {status.detail}" for name, status in skipped))
    return choice


def compiled(name: str) -> Callable[..., None] | None:
    """A function of the C kernels' ``loops`` that serves every backend (random numbers, pixels); None where they are not built."""
    try:
        loops = importlib.import_module("kigraph.kernels.cython.loops")
    except ImportError:
        return None
    function: Callable[..., None] = getattr(loops, name)
    return function
