"""``kigraph draw``: a graph as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import KigraphError
from .options import Commands, add_architecture, add_command, file_of, filled, positive
from .output import clean, note, writable

__all__ = ["register", "run"]

_EXAMPLES = """
kigraph draw classify_image_graph_def.pb      # writes classify_image_graph_def.html
kigraph draw model.pb -o model.svg --boxes 120
kigraph draw model.pb -o model.dot && dot -Tpdf -O model.dot
"""
_FORMATS = (".html", ".svg", ".dot")


def register(commands: Commands) -> None:
    parser = add_command(commands, "draw", "draw a model's graph as HTML, SVG or DOT", _EXAMPLES)
    parser.add_argument("file", type=filled, metavar="FILE", help="a model, or 'demo'")
    parser.add_argument(
        "-o",
        "--output",
        type=filled,
        metavar="PICTURE",
        help="*.html, *.svg or *.dot (default: FILE's name with .html)",
    )
    parser.add_argument(
        "--boxes", type=positive, default=None, metavar="N", help="boxes above which name scopes are collapsed"
    )
    add_architecture(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from ..graph import draw
    from ..opening import open_file

    file = file_of(args.file)
    writers = {".html": draw.to_html, ".svg": draw.to_svg, ".dot": draw.to_dot}
    if args.output is not None and Path(args.output).suffix.lower() not in writers:
        raise KigraphError(f"{args.output}: the name must end in one of {', '.join(_FORMATS)}")
    graph = open_file(file, strict=True, architecture=args.architecture).graph
    assert graph is not None  # strict
    name = Path(file).name
    output = Path(args.output) if args.output is not None else Path(name).with_suffix(".html")
    writable(output)
    options = {} if args.boxes is None else {"max_boxes": args.boxes}
    text = writers[output.suffix.lower()](graph, title=clean(name), **options)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise KigraphError(f"{output}: cannot be written: {error.strerror}") from None
    print(clean(output))
    note(f"{len(graph)} operations, {len(text.encode()):,} bytes")
    return 0
