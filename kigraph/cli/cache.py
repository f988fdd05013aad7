"""``kigraph cache``: what is in the cache folder, and how to delete it."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from .options import Commands, add_command, add_json
from .output import note, print_json, print_table, size_text

__all__ = ["register"]

_EXAMPLES = """
kigraph cache info
kigraph cache clear               # packed weights, tuning, features, compiled kernels; downloaded weights stay
kigraph cache clear packed
"""
#: Folder of the cache -> what is in it. Downloaded weights are not listed: `kigraph weights` looks after them.
_PARTS = {
    "packed": "packed weights",
    "tuning": "measured times of kernels",
    "bottlenecks": "features of photographs (kigraph retrain)",
    "numba": "kernels compiled by Numba",
    "cupy": "compiled CUDA kernels",
    "emulation": "CUDA kernels compiled for the CPU, by the tests",
}


def register(commands: Commands) -> None:
    parser = add_command(commands, "cache", "show or clear what is kept to start faster", _EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, prog="kigraph cache")
    info = actions.add_parser("info", help="what is kept, and how large it is")
    add_json(info)
    info.set_defaults(run=run_info)
    clear = actions.add_parser("clear", help="delete it; it is made anew when it is needed")
    clear.add_argument(
        "part", nargs="?", choices=tuple(_PARTS), metavar="PART", help=f"{', '.join(_PARTS)}; default: all"
    )
    add_json(clear)
    clear.set_defaults(run=run_clear)


def run_info(args: argparse.Namespace) -> int:
    from ..kernels.settings import cache_folder

    rows = [(part, len(found := _files(part)), sum(size for _, size in found), what) for part, what in _PARTS.items()]
    if args.json:
        parts = [{"part": p, "files": n, "bytes": size, "what": what} for p, n, size, what in rows]
        print_json({"cache": str(cache_folder()), "parts": parts})
        return 0
    print_table(("part", "files", "size", "what"), [(p, n, size_text(s), w) for p, n, s, w in rows], right=(1, 2))
    note(f"cache: {cache_folder()}")
    return 0


def run_clear(args: argparse.Namespace) -> int:
    removed = failed = freed = 0
    for part in (args.part,) if args.part else tuple(_PARTS):
        for path, size in _files(part):
            try:
                path.unlink()  # a process that has the file mapped keeps it
                removed, freed = removed + 1, freed + size
            except FileNotFoundError:
                pass
            except OSError as error:
                failed += 1
                note(f"kigraph: {path} cannot be removed: {error.strerror}")
    if args.json:
        print_json({"removed": removed, "bytes": freed, "failed": failed})
    else:
        print(f"{removed} files removed, {size_text(freed)}")
    return 1 if failed else 0


def _files(part: str) -> list[tuple[Path, int]]:
    """The files of a part with their sizes; links are never followed."""
    from ..kernels.settings import cache_folder

    folder = cache_folder() / part
    found: list[tuple[Path, int]] = []
    if folder.is_symlink() or not folder.is_dir():
        return found
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(OSError):
            state = path.lstat()
            if not path.is_dir() or path.is_symlink():
                found.append((path, state.st_size))
    return found
