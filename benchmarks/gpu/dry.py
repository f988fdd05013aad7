"""What ``--dry`` means: kigraph's CUDA backend over the stand-in for CuPy, so that a part runs where no GPU is.

Its results are real (the kernels are emulated); its times mean nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

__all__ = ["install", "parse"]


def install(multiprocessors: int = 132) -> None:
    """Puts the stand-in in CuPy's place for the rest of the process."""
    from kigraph.kernels import backends

    try:
        from kigraph.kernels.testing.standin import StandIn
    except ModuleNotFoundError:
        raise SystemExit(
            "--dry needs kigraph.kernels.testing, which the wheel lacks: run it from the checkout"
        ) from None

    StandIn(multiprocessors=multiprocessors).install(setattr)
    installed = backends.Backend.installed
    backends.Backend.installed = lambda self: self.name == "cupy" or installed(self)  # type: ignore[method-assign]


def parse(
    doc: str | None, arguments: Sequence[str] | None, parser: argparse.ArgumentParser | None = None
) -> argparse.Namespace:
    """The arguments of a part: its own, and --dry, which is put into force."""
    parser = parser or argparse.ArgumentParser()
    parser.description, parser.formatter_class = doc, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--dry", action="store_true", help="without a GPU, over the stand-in; times mean nothing")
    args = parser.parse_args(arguments)
    if args.dry:
        install()
    return args
