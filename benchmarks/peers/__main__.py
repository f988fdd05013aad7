"""The command ``python -m benchmarks.peers``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .contenders import CONTENDERS, PRECISIONS, absent, missing_files
from .shared_parts import (
    ROOT,
    about_here,
    existing_file,
    left,
    names_of,
    numbers,
    prepare,
    progress,
    settings_of,
    truth_in_cache,
)

__all__ = ["main"]

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="Times Inception v3 on kigraph and its peers, with identical weights, in turn in one run, in float32, "
        "bfloat16 and int8, and compares the answers with float64.",
        epilog="Nothing else should run meanwhile: what disturbs one turn shows in the spread of the ratios. Examples: "
        "--quick --precision int8; --precision bf16,int8 --threads 1,2 --batch 1,8; --only kigraph-int8,openvino-int8 "
        "--int8 model-int8.onnx",
    )
    names = [c.name for c in CONTENDERS]
    parser.add_argument(
        "--model",
        type=existing_file,
        metavar="FILE",
        help="a trained Inception v3 (default: the flowers network of KIGRAPH_SHARED if it is there, else seeded weights)",
    )
    parser.add_argument(
        "--precision", type=names_of(PRECISIONS), metavar="NAME,...", help=f"of {', '.join(PRECISIONS)}; default: all"
    )
    parser.add_argument(
        "--int8",
        type=existing_file,
        metavar="FILE",
        help="an ONNX file of the network with QuantizeLinear nodes, "
        "such as kigraph quantize writes (default: made by onnxruntime.quantization, once)",
    )
    parser.add_argument("--tflite", type=existing_file, metavar="FILE", help="the network as an int8 TFLite file")
    parser.add_argument(
        "--photographs",
        type=Path,
        metavar="FOLDER",
        help="JPEG files that are the images, in a folder for each "
        "class (default: the flowers of KIGRAPH_SHARED for a trained network, else noise)",
    )
    parser.add_argument(
        "--images", type=int, metavar="N", help="photographs whose answers are compared; default: 40, with --quick 8"
    )
    parser.add_argument(
        "--threads", type=numbers, metavar="N,...", help="default: 1,2 and, if there are more, all CPUs"
    )
    parser.add_argument("--batch", type=numbers, metavar="N,...", help="images at once; default: 1,8")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each contender per setting; default: 15")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a turn; default: 0.4")
    parser.add_argument("--only", type=names_of(names), metavar="NAME,...", help=f"of {', '.join(names)}")
    parser.add_argument(
        "--quick", action="store_true", help="1 thread, batch 1, 3 rounds of half a second, 8 images; results in out/"
    )
    parser.add_argument(
        "--layers", action="store_true", help="the convolutions one by one, against ONNX Runtime and the roofline"
    )
    parser.add_argument("--no-whole", action="store_true", help="leave out cold start and peak memory")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="for JSON and PNG; default: benchmarks/results, with --quick and --show out/",
    )
    parser.add_argument("--readme", action="store_true", help="put the table into README.md, too")
    parser.add_argument(
        "--show", type=Path, metavar="JSON", help="measure nothing: print and draw an earlier result again"
    )
    return parser


def _who(args: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """Who is measured, and who is missing and why; SystemExit if nobody is left."""
    wanted = [
        c.name
        for c in CONTENDERS
        if c.name in (args.only or [c.name]) and c.precision in (args.precision or PRECISIONS)
    ]
    missing = absent(wanted, int8_given=args.int8 is not None) if wanted else {}
    return left(wanted, missing), missing


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measures everything."""
    from .rounds import Setting, measure
    from .whole import measure_whole

    settings = [Setting(t, b) for t, b in settings_of(args)]
    threads = list(dict.fromkeys(s.threads for s in settings))
    rounds, seconds = args.rounds or (3 if args.quick else 15), args.seconds or (0.5 if args.quick else 0.4)
    names, missing = _who(args)
    starts = 0 if args.no_whole or args.quick else 5
    total = 4 + args.images + len(settings) * len(names) * (2 + rounds) + (starts + 1 if starts else 0) * len(names)
    with tempfile.TemporaryDirectory(prefix="kigraph-peers-") as folder, progress(total) as tick:
        tick("the machine's peak")
        result = about_here(threads)
        network, problem = prepare(args, Path(folder), names, tick)
        lacking = missing_files(network, names, problem)
        missing |= lacking
        names = left(names, lacking)
        tick("the truth in float64")
        truth = truth_in_cache(network, tick)
        result |= {
            "network": network.title,
            "images": f"{network.count} {'photographs' if network.photographs else 'images of noise'}",
            "absent": missing,
            "seconds_per_turn": seconds,
            "settings": [],
            "whole": {},
        }
        for setting in settings:
            first = setting == settings[0]
            result["settings"].append(measure(network, setting, names, rounds, seconds, truth, tick, accuracy=first))
        result["versions"] = {n: v for s in result["settings"] for n, v in s["versions"].items()}
        if starts:
            alive = [n for n in names if n in result["versions"]]
            result["whole"] = measure_whole(network, alive, max(threads), starts, tick)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    args.images = args.images or (8 if args.quick else 40)
    out: Path = args.out or (ROOT / "out" if args.quick or args.show else ROOT / "benchmarks" / "results")
    if args.layers:
        from . import layers as part
        from . import layers_report as report

        name = "layers"
    else:
        from . import picture as part
        from . import report

        name = "peers"
    if args.show:
        result = json.loads(args.show.read_text(encoding="utf-8"))
    else:
        result = part.run(args, about_here, progress) if args.layers else run(args)
    report.print_table(result)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    try:
        (report if args.layers else part).draw(result, out / f"{name}.png")
    except SystemExit as problem:
        print(problem, file=sys.stderr)
    print(f"wrote {out / name}.json and .png")
    if args.readme and not args.layers:
        write_readme(report.markdown(result, "benchmarks/results/peers.png"))
    return 0


def write_readme(text: str, path: Path = ROOT / "README.md") -> None:
    """Replaces what stands between the two marks."""
    page = path.read_text(encoding="utf-8")
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path.name} lacks the lines {BEGIN} and {END}")
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
