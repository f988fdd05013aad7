"""What surrounds a graph in TensorFlow's programs: config records, tf.app, tf.flags, tf.logging."""

from __future__ import annotations

import argparse
import logging as _logging
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

__all__ = [
    "APP",
    "FLAGS",
    "LOGGING",
    "ConfigProto",
    "GPUOptions",
    "OptimizerOptions",
    "RunMetadata",
    "RunOptions",
    "flag_functions",
]


class _Record:
    """Fields that may be set and read; unknown ones are refused."""

    fields: dict[str, Any] = {}  # noqa: RUF012 - each class has its own

    def __init__(self, **given: Any) -> None:
        for name, value in {**{k: v() if isinstance(v, type) else v for k, v in self.fields.items()}, **given}.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__} has no field {name!r}; it has {', '.join(self.fields)}")
        object.__setattr__(self, name, value)


class GPUOptions(_Record):
    """Accepted: kigraph takes the memory that a plan needs."""

    fields = {"allow_growth": False, "per_process_gpu_memory_fraction": 0.0, "visible_device_list": ""}  # noqa: RUF012


class OptimizerOptions(_Record):
    """Accepted."""

    fields = {"global_jit_level": 0, "opt_level": 0}  # noqa: RUF012


class _GraphOptions(_Record):
    fields = {"optimizer_options": OptimizerOptions}  # noqa: RUF012


class ConfigProto(_Record):
    """Of a session: intra_op_parallelism_threads is the number of threads (0: kigraph's setting). The others are accepted."""

    fields = {  # noqa: RUF012
        "allow_soft_placement": False, "log_device_placement": False, "intra_op_parallelism_threads": 0,
        "inter_op_parallelism_threads": 0, "device_count": dict, "gpu_options": GPUOptions, "graph_options": _GraphOptions,
        "use_per_session_threads": False, "operation_timeout_in_ms": 0,
    }  # fmt: skip


class RunOptions(_Record):
    """Accepted; Session.core.profile measures."""

    fields = {"trace_level": 0, "timeout_in_ms": 0, "report_tensor_allocations_upon_oom": False}  # noqa: RUF012
    NO_TRACE, SOFTWARE_TRACE, HARDWARE_TRACE, FULL_TRACE = range(4)


class RunMetadata(_Record):
    """Accepted, and left empty."""

    fields = {"step_stats": None}  # noqa: RUF012


# --- flags ------------------------------------------------------------------------------------------------------------------


class _Flags:
    """The values of flags by name; the command line is read when the first one is asked for."""

    def __init__(self) -> None:
        self.__dict__.update(parser=argparse.ArgumentParser(allow_abbrev=False), values=None, rest=[])

    def parse(self, argv: list[str] | None = None) -> list[str]:
        """Reads the command line; what is no flag is returned."""
        found, rest = self.__dict__["parser"].parse_known_args(argv)
        self.__dict__.update(values=vars(found), rest=rest)
        return list(rest)

    def __getattr__(self, name: str) -> Any:
        if self.__dict__["values"] is None:
            self.parse()
        if name not in self.__dict__["values"]:
            raise AttributeError(f"no flag is defined as {name!r}")
        return self.__dict__["values"][name]

    def __setattr__(self, name: str, value: Any) -> None:
        getattr(self, name)
        self.__dict__["values"][name] = value


FLAGS = _Flags()


def _truth(text: str) -> bool:
    if text.lower() in ("true", "t", "1", "yes"):
        return True
    if text.lower() in ("false", "f", "0", "no"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is not true or false")


def flag_functions() -> dict[str, Callable[..., None]]:
    """DEFINE_string and its relatives."""

    def define(kind: Any) -> Callable[..., None]:
        def function(name: str, default: Any, help: str = "", **other: Any) -> None:
            more: dict[str, Any] = {"nargs": "?", "const": True} if kind is _truth else {}
            FLAGS.__dict__["parser"].add_argument(f"--{name}", type=kind, default=default, help=help or "", **more)
            FLAGS.__dict__["values"] = None

        return function

    kinds = {"string": str, "integer": int, "float": float, "boolean": _truth, "bool": _truth}
    return {f"DEFINE_{name}": define(kind) for name, kind in kinds.items()}


def _run(main: Any = None, argv: Any = None) -> None:
    """Calls main(argv) with what is no flag, and ends the program with what it returns."""
    main = main or sys.modules["__main__"].main
    rest = FLAGS.parse(None if argv is None else list(argv)[1:])
    sys.exit(main([(argv or sys.argv)[0], *rest]))


flags = SimpleNamespace(FLAGS=FLAGS, **flag_functions())
APP = SimpleNamespace(run=_run, flags=flags)

_log = _logging.getLogger("kigraph.compat.v1")


def _set_verbosity(level: int) -> None:
    _log.setLevel(level)


LOGGING = SimpleNamespace(
    DEBUG=_logging.DEBUG, INFO=_logging.INFO, WARN=_logging.WARNING, ERROR=_logging.ERROR, FATAL=_logging.CRITICAL,
    debug=_log.debug, info=_log.info, warn=_log.warning, warning=_log.warning, error=_log.error, fatal=_log.critical,
    set_verbosity=_set_verbosity, get_verbosity=lambda: _log.getEffectiveLevel(), log=_log.log,
)  # fmt: skip
