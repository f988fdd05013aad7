"""``kigraph weights``: the official files, and the cache."""

from __future__ import annotations

import argparse

from ..errors import WeightsError
from ..weights.catalogue import CATALOGUE, DEFAULT, DEMO, catalogue_entry
from .options import Commands, add_command, add_json
from .output import download_progress, note, print_json, print_table, size_text

__all__ = ["register"]

_EXAMPLES = """
kigraph weights list
kigraph weights fetch inception-v3-2016
kigraph classify dog.jpg --weights inception-v3-2016
python my_program.py "$(kigraph weights path inception-v3-2015)"
kigraph weights path demo                     # the small model that comes with kigraph
"""


def register(commands: Commands) -> None:
    parser = add_command(commands, "weights", "list, download and find official weight files", _EXAMPLES)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the files that kigraph knows, and which of them are in the cache")
    add_json(listing)
    listing.set_defaults(run=run_list)
    fetching = actions.add_parser("fetch", help="download a file into the cache and verify it")
    fetching.add_argument("name", nargs="?", default=DEFAULT, metavar="NAME", help=f"default: {DEFAULT}")
    fetching.add_argument("--force", action="store_true", help="download again even if it is in the cache")
    add_json(fetching)
    fetching.set_defaults(run=run_fetch)
    path = actions.add_parser("path", help="print the path of a file, or, without a name, the cache folder")
    path.add_argument("name", nargs="?", metavar="NAME")
    path.set_defaults(run=run_path)


def run_list(args: argparse.Namespace) -> int:
    from ..weights.store import cache_folder, cached_path

    if args.json:
        rows = [
            {
                "name": e.name,
                "title": e.title,
                "url": e.url,
                "size": e.size,
                "sha256": e.sha256,
                "checked_by": e.checked_by,
                "member": e.member,
                "licence": e.licence,
                "card": e.card,
                "note": e.note,
                "cached": str(path) if (path := cached_path(e)) else None,
            }
            for e in CATALOGUE
        ]
        print_json({"cache": str(cache_folder()), "default": DEFAULT, "weights": rows})
        return 0
    print_table(
        ("name", "download", "checked by", "cached", "what"),
        [(e.name, size_text(e.size), e.checked_by, "yes" if cached_path(e) else "no", e.title) for e in CATALOGUE],
        right=(1,),
    )
    note(f"cache: {cache_folder()}; default: {DEFAULT}; beside these: {DEMO}, the small model that comes with kigraph")
    return 0


def run_fetch(args: argparse.Namespace) -> int:
    from ..weights.store import fetch, verify

    if args.name == DEMO:
        raise WeightsError(
            f"{DEMO!r} comes with kigraph, nothing is downloaded; `kigraph weights path {DEMO}` says where it is"
        )
    entry = catalogue_entry(args.name)
    with download_progress(args.json) as progress:
        path = fetch(entry, progress=progress, force=args.force)
    intact = verify(entry)
    if args.json:
        print_json({"name": entry.name, "path": str(path), "size": path.stat().st_size, "intact": intact})
    else:
        print(path)
        if not intact:
            note("kigraph: the cached file has changed since it was downloaded: fetch it again with --force")
    return 0 if intact else 1


def run_path(args: argparse.Namespace) -> int:
    from ..weights.store import EMBEDDED, cache_folder, cached_path

    if args.name is None:
        print(cache_folder())
        return 0
    path = EMBEDDED if args.name == DEMO else cached_path(catalogue_entry(args.name))
    if path is None:
        note(f"kigraph: {args.name} is not in the cache; `kigraph weights fetch {args.name}` downloads it")
        return 1
    print(path)
    return 0
