"""kigraph.cli: the command ``kigraph``.

Map of the folder: one module per command (classify, retrain, quantize, serve, bench, profile, tune, cache, info,
inspect_file, card, convert, verify, draw, weights), each with ``register(commands)`` and ``run(args)``; output.py prints tables and JSON; options.py has what commands share;
support.py finds out which backend can run what.

Exit codes: 0 done; 1 some of the inputs failed; 2 wrong usage or an error that concerns everything.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..kernels.errors import SettingsError
from ..kernels.logs import follow_setting
from ..kernels.settings import warn_of_unknown_names
from .output import warnings_as_notes

__all__ = ["build_parser", "main"]

_EPILOG = """\
examples:
  kigraph classify dog.jpg                          the five most probable labels
  kigraph classify photos/ --top 1 --json           a folder, for a program to read
  kigraph classify cat.png --weights my_graph.pb --labels labels.txt
  kigraph serve --port 8080                         the same over HTTP
  kigraph retrain dogs/ -o dogs.pb                  teach it the classes of your own photographs
  kigraph quantize my_graph.pb --images photos/ -o small.onnx   8-bit integers
  kigraph inspect my_graph.pb                       format, ops, inputs, outputs, card
  kigraph card my_graph.pb > model.card.json        how it is used, to correct and keep
  kigraph convert a.h5 -o b.onnx                    another format, proved to compute the same
  kigraph verify a.h5 b.onnx                        the same network? layer by layer
  kigraph bench --backend cython,numba              how fast is this machine?
  kigraph profile my_graph.pb --draw profile.html   where does the time go?
  kigraph tune my_graph.pb                          measure which kernels are fastest here, and keep it
  kigraph info                                      backends: which are usable, and why not the others

KIGRAPH_BACKEND chooses the backend, KIGRAPH_WEIGHTS the weight file; `kigraph info` lists all settings.
Without --weights and KIGRAPH_WEIGHTS the official Inception v3 is taken from the cache or downloaded; where that fails it is an
error. The small model that comes with kigraph (apples or oranges) answers to its name only: --weights demo
exit codes: 0 done, 1 some inputs failed, 2 wrong usage or an error that concerns everything
"""


#: Command -> the module that has it; a module is imported when its command, or the list of commands, is asked for.
_COMMANDS = {
    "classify": "kigraph.cli.classify",
    "retrain": "kigraph.cli.retrain",
    "quantize": "kigraph.cli.quantize",
    "serve": "kigraph.cli.serve",
    "bench": "kigraph.cli.bench",
    "profile": "kigraph.cli.profile",
    "tune": "kigraph.cli.tune",
    "cache": "kigraph.cli.cache",
    "info": "kigraph.cli.info",
    "inspect": "kigraph.cli.inspect_file",
    "card": "kigraph.cli.card",
    "convert": "kigraph.cli.convert",
    "verify": "kigraph.cli.verify",
    "draw": "kigraph.cli.draw",
    "weights": "kigraph.cli.weights",
    "demo": "kigraph.demo",
}


_LONGEST_WORD = 300


class _Parser(argparse.ArgumentParser):
    """Says on one line what is wrong, however long the argument is."""

    def error(self, message: str) -> NoReturn:
        super().error(_one_line(message))


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or of one."""
    from .. import __version__

    parser = _Parser(
        prog="kigraph",
        description="Runs trained image classifiers, such as Inception v3, on the fastest kernels of this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kigraph {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error arose, for a bug report")
    # prog is given so that argparse need not lay out a usage text, for which it imports shutil.
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, prog="kigraph")
    for name, module in _COMMANDS.items():
        if command in (None, name):
            importlib.import_module(module).register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code. Errors of kigraph become one line on standard error."""
    from ..errors import KigraphError

    # Loading a model makes some 100,000 objects and no garbage; collecting after every 700 takes 20 ms of a start.
    if argv is None:
        gc.set_threshold(200_000, 20, 20)
        # The collection at exit looks at every object once more: 50 ms, for memory that the system takes back anyway.
        atexit.register(gc.freeze)
        argv = sys.argv[1:]
        _open_streams()
    first = next((a for a in argv if not a.startswith("-")), None)
    try:
        args = build_parser(first if first in _COMMANDS else None).parse_args(argv)
    except SystemExit as stop:  # argparse has printed help or what is wrong
        return stop.code if isinstance(stop.code, int) else 2
    try:
        with warnings_as_notes():
            with contextlib.suppress(SettingsError):  # `kigraph info` shows it; whatever makes a session raises it
                follow_setting()
            warn_of_unknown_names()
            code = int(args.run(args))
        sys.stdout.flush()
        return code
    except KigraphError as error:
        if args.traceback:
            _print_traceback()
            return 2
        print(f"kigraph: {type(error).__name__}: {_one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing to say, and Python must not try to flush again at its end.
        _drop_output()
        return 0
    except (OSError, MemoryError) as error:
        if args.traceback:
            _print_traceback()
        print(f"kigraph: {_system_error(error)}", file=sys.stderr)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            return 2
        _drop_output()
        return 2
    except KeyboardInterrupt:
        print("\nkigraph: interrupted", file=sys.stderr)
        return 130


def _open_streams() -> None:
    """A process may be started without standard streams (`>&-`): what it prints then goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _system_error(error: OSError | MemoryError) -> str:
    """What the system refused: a full disk behind standard output, a folder that may not be read, too little memory."""
    if isinstance(error, MemoryError):
        return f"OutOfMemoryError: there is not enough memory: {_one_line(error) or 'an allocation failed'}"
    place = f"{error.filename}: " if error.filename is not None else ""
    parts = [f"{type(error).__name__}: {place}{error.strerror or error}", *getattr(error, "__notes__", ())]
    return _one_line("; ".join(parts))


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _one_line(error: BaseException | str) -> str:
    """A message on one line, without control characters, in which no word, such as a file's name, is longer than a screen."""
    notes = "; ".join(getattr(error, "__notes__", ()))
    words = (f"{error}; {notes}" if notes else str(error)).split()
    text = " ".join(w if len(w) <= _LONGEST_WORD else f"{w[:_LONGEST_WORD]}..." for w in words)
    return "".join(c if c.isprintable() else "?" for c in text)
