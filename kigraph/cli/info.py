"""``kigraph info``: this machine, the backends, the settings."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import Commands, add_command, add_json
from .output import clean, print_json, print_table

if TYPE_CHECKING:
    from ..environment import Used
    from ..machine import BackendInfo, Machine

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph info
kigraph info --json
kigraph info --ops            # every op that graphs may use, and which backend has its own kernels
"""


def register(commands: Commands) -> None:
    parser = add_command(commands, "info", "show the machine, the backends and all settings", _EXAMPLES)
    parser.add_argument(
        "--ops", action="store_true", help="list the ops instead, and which backend has kernels for them"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return _ops(args.json) if args.ops else _overview(args.json)


def _overview(as_json: bool) -> int:
    from .. import __version__
    from ..environment import used_settings
    from ..errors import KigraphError
    from ..kernels.backends import resolve_choice
    from ..machine import backend_status, describe
    from ..weights.catalogue import CATALOGUE
    from ..weights.store import cached_path

    machine, found = describe(), backend_status()
    try:
        choice, problem = str(resolve_choice()), ""
    except KigraphError as error:
        choice, problem = "", str(error)
    show = _as_json if as_json else _as_text
    show(__version__, machine, found, choice, problem, used_settings(), [e.name for e in CATALOGUE if cached_path(e)])
    return 0


def _as_json(
    version: str, machine: Machine, found: Sequence[BackendInfo], choice: str, problem: str,
    settings: Sequence[Used], cached: list[str],
) -> None:  # fmt: skip
    from ..kernels.settings import unknown_names
    from ..weights.store import cache_folder

    print_json(
        {
            "version": version,
            "machine": machine.to_json(),
            "backends": [b.to_json() for b in found],
            "choice": choice or None,
            "problem": problem or None,
            "unknown_settings": [{"name": n, "nearest": near or None} for n, near in unknown_names().items()],
            "settings": [{"name": n, "value": v, "source": s, "help": h} for n, v, s, h in settings],
            "cache": {"folder": str(cache_folder()), "weights": cached},
        }
    )


def _as_text(
    version: str, machine: Machine, found: Sequence[BackendInfo], choice: str, problem: str,
    settings: Sequence[Used], cached: list[str],
) -> None:  # fmt: skip
    from ..weights.store import cache_folder

    print(f"kigraph {version}\n{clean(machine)}\n{clean(machine.system)}\n")
    print_table(
        ("backend", "usable", "what", "here"),
        [(b.name, "yes" if b.available else "no", b.summary, b.detail) for b in found],
    )
    for backend in found:
        if backend.remedy:
            print(f"  {backend.name}: {clean(backend.remedy)}")
    print(f"\nsessions use: {clean(choice or problem)}\n")
    print_table(
        ("setting", "value", "from", "meaning"), [(n, "-" if v is None else v, s, h) for n, v, s, h in settings]
    )
    print(f"\ncache: {clean(cache_folder())}; weights in it: {', '.join(cached) or 'none'}")


def _ops(as_json: bool) -> int:
    from ..graph.opdefs import OPDEFS
    from ..kernels.contracts import CONTRACTS
    from .support import backends_here, support_of

    names = backends_here()
    table = {c.name: {b: support_of(c, b) for b in names} for c in CONTRACTS}
    if as_json:
        print_json({"ops": sorted(OPDEFS), "contracts": table})
        return 0
    print("op types that graphs may use:")
    print(textwrap.fill(", ".join(sorted(OPDEFS)), 110, initial_indent="  ", subsequent_indent="  "))
    print("\nkernels of what they become:")
    print_table(("contract", *names), [(c, *by.values()) for c, by in table.items()])
    print("\nown: the backend's kernels; shared: the shared CPU family; -: none")
    return 0
