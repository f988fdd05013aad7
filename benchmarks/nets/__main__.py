"""The command ``python -m benchmarks.nets``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..peers.contenders import CONTENDERS, absent
from ..peers.shared_parts import ROOT, about_here, left, names_of, numbers, progress, settings_of
from . import report
from .zoo import NETWORKS, linked, network_files, truth

__all__ = ["TOLERANCE", "main", "run"]

#: Relative L2 distance of the logits from float64: float32 has 1e-7 to 6e-6 here, a wrong layer 1e-2 and more.
TOLERANCE = 1e-4
_CONTENDERS = tuple(c.name for c in CONTENDERS if c.precision == "fp32")
_DEFAULT = tuple(c.name for c in CONTENDERS if c.precision == "fp32" and (c.peer or c.name == "kigraph"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nets",
        description="Times networks on kigraph and its peers, float32 with identical seeded weights, in turn in one run. Answers "
        "are compared with float64 first; who is wrong gets no time.",
        epilog="Nothing else should run meanwhile. The files of the networks (2 GB) are made once, in kigraph's cache folder.",
    )
    parser.add_argument(
        "--only", type=names_of(tuple(NETWORKS)), metavar="NETWORK,...", help=f"of {', '.join(NETWORKS)}; default: all"
    )
    parser.add_argument(
        "--contenders", type=names_of(_CONTENDERS), metavar="NAME,...",
        help=f"of {', '.join(_CONTENDERS)}; default: {', '.join(_DEFAULT)}",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=numbers, metavar="N,...", help="default: 1,2 and, if there are more, all CPUs"
    )
    parser.add_argument("--batch", type=numbers, metavar="N,...", help="images at once; default: 1,8")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each contender per setting; default: 9")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a turn; default: 0.3")
    parser.add_argument("--quick", action="store_true", help="1 thread, batch 1, 3 rounds of 0.1 s; results in out/")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER",
        help="for nets.json and nets.png; default: benchmarks/results, with --quick and --show out/",
    )  # fmt: skip
    parser.add_argument(
        "--show", type=Path, metavar="JSON", nargs="+",
        help="measure nothing: print and draw earlier results again; several files are put together",
    )  # fmt: skip
    return parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measures everything."""
    from ..peers.rounds import Setting, measure

    settings = [Setting(t, b) for t, b in settings_of(args)]
    rounds, seconds = args.rounds or (3 if args.quick else 9), args.seconds or (0.1 if args.quick else 0.3)
    wanted = list(args.contenders or _DEFAULT)
    missing = absent(wanted)
    names = left(wanted, missing)
    networks = [NETWORKS[name] for name in args.only or NETWORKS]
    total = 1 + len(networks) * (2 + len(settings) * len(names) * (2 + rounds))
    with tempfile.TemporaryDirectory(prefix="kigraph-nets-") as folder, progress(total) as tick:
        tick("the machine's peak")
        result = about_here(list(dict.fromkeys(s.threads for s in settings)))
        result |= {"absent": missing, "seconds_per_turn": seconds, "networks": {}}
        versions: dict[str, str] = {}
        for known in networks:
            tick(f"{known.title}: files")
            files = network_files(known)
            tick(f"{known.title}: the truth in float64")
            exact = truth(files)
            network = linked(files, Path(folder, known.name))
            found = [
                measure(
                    network, setting, names, rounds, seconds, exact, lambda what, known=known: tick(f"{known.title}, {what}"),
                    accuracy=False, tolerance=TOLERANCE, least=1,
                )
                for setting in settings
            ]  # fmt: skip
            result["networks"][known.name] = {"title": known.title, "settings": found}
            versions |= {n: v for s in found for n, v in s["versions"].items()}
        result["versions"] = versions
    return result


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    out: Path = args.out or (ROOT / "out" if args.quick or args.show else ROOT / "benchmarks" / "results")
    result = report.merged([json.loads(p.read_text(encoding="utf-8")) for p in args.show]) if args.show else run(args)
    report.print_table(result)
    out.mkdir(parents=True, exist_ok=True)
    (out / "nets.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    try:
        report.draw(result, out / "nets.png")
    except SystemExit as problem:
        print(problem, file=sys.stderr)
    print(f"wrote {out / 'nets'}.json and .png")
    return 1 if report.failures(result) else 0


if __name__ == "__main__":
    sys.exit(main())
