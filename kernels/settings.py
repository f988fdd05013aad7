"""Every environment variable of kigraph, declared once: name, type, default, help, allowed values.

A setting is read when a session is made. Precedence: argument > ``with`` > environment > default. A variable that looks like
one of them and is none, with a letter missing, is warned about once: it would be ignored, and another model would be used.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import SettingsError
from .service_settings import SERVE
from .setting import Setting, one_of, switch

__all__ = [
    "BACKEND",
    "CACHE_DIR",
    "CUPY_PRECISION",
    "CUPY_SYNC",
    "ISA",
    "LOG",
    "NUM_THREADS",
    "OTHER_NAMES",
    "PACKED_CACHE",
    "PLAN_CACHE",
    "PRECISION",
    "PRECISIONS",
    "SERVE",
    "SETTINGS",
    "TEST_SEED",
    "TUNE",
    "WEIGHTS",
    "WINOGRAD",
    "Setting",
    "available_cpus",
    "cache_folder",
    "resolve_threads",
    "unknown_names",
    "warn_of_unknown_names",
]


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise ValueError("expected a whole number from 1 to 1024")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise ValueError("expected a whole number from 0 to 4294967295")
    return int(text)


_ISAS = ("auto", "portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16", "amx")

BACKEND = Setting(
    "KIGRAPH_BACKEND",
    "auto",
    str,
    "which kernels run: one name is strict, a comma-separated list is an order of preference, auto takes the fastest available",
)
NUM_THREADS: Setting[int | None] = Setting(
    "KIGRAPH_NUM_THREADS", None, _positive, "threads of one run; default: the CPUs that this process may use"
)
ISA = Setting(
    "KIGRAPH_ISA", "auto", one_of(*_ISAS), "instruction set of the cython and numba backends, for tests", _ISAS
)
WINOGRAD: Setting[bool] = Setting(
    "KIGRAPH_WINOGRAD",
    True,
    switch,
    "whether convolutions may use algorithms that multiply less and round more (Winograd, Cook-Toom): 0 for direct ones only",
    ("0", "1"),
)
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
PRECISION: Setting[str | None] = Setting(
    "KIGRAPH_PRECISION",
    None,
    one_of(*PRECISIONS),
    "in what convolutions and matrix products multiply: fp32; bf16, float32 rounded to bfloat16 (numpy, numba, cupy, and cython "
    "on processors with such instructions); tf32 (cupy); fp16, which no backend has; int8, a check that the model is "
    "quantised; default: fp32",
    PRECISIONS,
)
_OLD_PRECISIONS = ("fp32", "tf32", "bf16")
CUPY_PRECISION = Setting(
    "KIGRAPH_CUPY_PRECISION",
    "fp32",
    one_of(*_OLD_PRECISIONS),
    "the former name of KIGRAPH_PRECISION, for sessions on the cupy backend; goes with version 1.0",
    _OLD_PRECISIONS,
)
CUPY_SYNC: Setting[bool] = Setting(
    "KIGRAPH_CUPY_SYNC",
    False,
    switch,
    "whether the cupy backend waits after every kernel and checks it, so that an error names the step that failed: 1 to find "
    "a fault, slower",
    ("0", "1"),
)
WEIGHTS: Setting[str | None] = Setting(
    "KIGRAPH_WEIGHTS",
    None,
    str,
    "weight file of the command line and the demo: a path, a name of `kigraph weights list`, or demo",
)
CACHE_DIR: Setting[str | None] = Setting(
    "KIGRAPH_CACHE_DIR",
    None,
    str,
    "folder for downloaded weights, compiled kernels, packed weights and tuning; default: ~/.cache/kigraph (XDG_CACHE_HOME is honoured)",
)
PLAN_CACHE = Setting(
    "KIGRAPH_PLAN_CACHE", 16, _positive, "how many compiled plans a session keeps; the least recently used goes first"
)
_SWITCH = ("on", "off")
PACKED_CACHE = Setting(
    "KIGRAPH_PACKED_CACHE",
    "on",
    one_of(*_SWITCH),
    "whether packed weights of model files are kept in the cache folder and shared between processes",
    _SWITCH,
)
_TUNING = ("off", "cached", "full")
TUNE = Setting(
    "KIGRAPH_TUNE",
    "cached",
    one_of(*_TUNING),
    "how a layer's kernel is chosen where several could run: off = the table of the package, cached = also what was "
    "measured here before, full = measure what is not known yet",
    _TUNING,
)
_LEVELS = ("debug", "info", "warning", "error")
LOG: Setting[str | None] = Setting(
    "KIGRAPH_LOG",
    None,
    one_of(*_LEVELS),
    "from which level on kigraph logs; default: as the application's logging says",
    _LEVELS,
)
TEST_SEED: Setting[int | None] = Setting(
    "KIGRAPH_TEST_SEED", None, _seed, "seed of the random inputs of kernel tests; default: a fresh one in every process"
)


SETTINGS: tuple[Setting[Any], ...] = (
    BACKEND,
    NUM_THREADS,
    ISA,
    WINOGRAD,
    PRECISION,
    CUPY_PRECISION,
    CUPY_SYNC,
    WEIGHTS,
    CACHE_DIR,
    PLAN_CACHE,
    PACKED_CACHE,
    TUNE,
    LOG,
    *SERVE,
    TEST_SEED,
)

#: Names that begin like a setting and are read elsewhere: by the tests, the benchmarks and setup.py.
OTHER_NAMES = ("KIGRAPH_SHARED", "KIGRAPH_TEST_STAND_IN", "KIGRAPH_SANITIZE")

_PREFIX = "KIGRAPH"
#: A misspelt prefix, as in KIGRPAH_BACKEND, is so like a name; no variable of another program is.
_NEARLY = 0.9
_LOG = logging.getLogger("kigraph")
_WARNED: set[str] = set()
_WARNING = threading.Lock()


def _of_kubernetes(name: str) -> bool:
    """Whether it describes a Service that is called kigraph: every pod in its namespace gets its address in several variables."""
    return "_SERVICE_" in name or bool(re.search(r"_PORT_\d+_(TCP|UDP|SCTP)", name)) or "://" in os.environ[name]


def unknown_names() -> dict[str, str]:
    """Variables of the environment that look like settings and are none -> the nearest real name, or ''."""
    known = {*(setting.name for setting in SETTINGS), *OTHER_NAMES}
    found = {}
    for name in sorted(os.environ):
        upper = name.upper()
        if name in known or not upper.startswith("K") or _of_kubernetes(name):
            continue
        ours = upper.startswith(tuple(_PREFIX + separator for separator in "_-."))
        near = _nearest(upper, known, 0.6 if ours else _NEARLY)
        if near or ours:
            found[name] = near
    return found


def warn_of_unknown_names() -> None:
    """One log warning for each of ``unknown_names``, once per process. Their values are never shown."""
    for name, near in unknown_names().items():
        with _WARNING:
            if name in _WARNED:
                continue
            _WARNED.add(name)
        remedy = f"did you mean {near}?" if near else f"known: {', '.join(s.name for s in SETTINGS)}"
        shown = "".join(c if c.isprintable() else "?" for c in name[:80])
        _LOG.warning("the environment variable %s is no setting of kigraph and has no effect; %s", shown, remedy)


def _nearest(name: str, known: Iterable[str], least: float) -> str:
    """The known name that is most like ``name``; '' if none is. After a right prefix only the rest is compared."""
    import difflib  # late: it takes 3 ms that only a wrong name costs

    start = f"{_PREFIX}_" if name.startswith(f"{_PREFIX}_") else ""
    names = {n.removeprefix(start): n for n in known}
    close = difflib.get_close_matches(name.removeprefix(start)[:80], names, 1, least)
    return names[close[0]] if close else ""


def cache_folder() -> Path:
    """KIGRAPH_CACHE_DIR, else XDG_CACHE_HOME/kigraph, else ~/.cache/kigraph; not created here.

    SettingsError if that needs a home folder and there is none.
    """
    chosen = CACHE_DIR.get()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    try:
        if chosen:
            return Path(chosen).expanduser()
        # The XDG specification: a relative path is to be ignored.
        return (Path(xdg) if xdg.startswith("/") else Path.home() / ".cache") / "kigraph"
    except RuntimeError as error:  # a user without a home folder, or ~somebody who is not there
        raise SettingsError(f"no cache folder: {error}; set {CACHE_DIR.name} to a folder") from None


def available_cpus() -> int:
    """CPUs that this process may use: affinity mask, bounded by the cgroup's quota (v2 and v1)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota_file, period_file in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            with open(quota_file) as file:
                fields = file.read().split()
            if period_file is not None:
                with open(period_file) as file:
                    fields += file.read().split()
            quota, period = int(fields[0]), int(fields[1])
        except (OSError, ValueError, IndexError):
            continue
        if quota > 0 and period > 0:
            count = min(count, max(1, round(quota / period)))
    return max(count, 1)


def resolve_threads(threads: int | None = None) -> int:
    """The number of threads: argument > KIGRAPH_NUM_THREADS > available_cpus()."""
    if threads is not None:
        if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= 1024:
            raise SettingsError(f"threads must be a whole number from 1 to 1024, got {threads!r}")
        return threads
    return NUM_THREADS.get() or available_cpus()
