"""``kigraph retrain`` on real photographs: rates next to classify's, accuracy next to scikit-learn's, the same bits after kills.

    python -m benchmarks.retrain_flowers [--rates] [--kills 20] [--out out/retrain]

Needs the folder of real models and photographs (KIGRAPH_SHARED, or ../shared) and scikit-learn. Prints a JSON document; exit code 1
if the accuracy is more than a percentage point off scikit-learn's, or an interrupted run ended with other bits.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__: list[str] = []

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("KIGRAPH_SHARED") or ROOT.parent / "shared")
FILES = ("m.pb", "m.pb.card.json", "m_labels.txt", "m_report.html")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="for the rates (default: 3)")
    parser.add_argument("--rates", action="store_true", help="nothing but the rates of features and of classify")
    parser.add_argument("--out", type=Path, default=Path("out/retrain"))
    args = parser.parse_args()
    if not (SHARED / "photos" / "flowers").is_dir():
        print(f"no photographs: {SHARED} is missing; set KIGRAPH_SHARED", file=sys.stderr)
        return 2
    shutil.rmtree(args.out, ignore_errors=True)
    photos, weights = _material(args.out.resolve())
    found: dict[str, Any] = {"photographs": sum(1 for _ in photos.rglob("*.jpg"))}
    found["rates"] = _rates(photos, weights, args.out.resolve(), args.rounds)
    if args.rates:
        print(json.dumps(found, indent=1))
        return 0
    found |= _whole(photos, weights, args.out.resolve())
    found["scikit-learn"] = _scikit_learn(photos, weights, args.out.resolve(), found)
    found["kills"] = _killed(
        photos, weights, args.out.resolve(), args.kills, random.Random(args.seed), found["seconds"]
    )
    print(json.dumps(found, indent=1))
    same = found["kills"]["same bits"] and found["augmented and tuned"]["same bits"]
    return 0 if same and abs(found["accuracy"] - found["scikit-learn"]["accuracy"]) <= 0.01 else 1


def _material(out: Path) -> tuple[Path, Path]:
    photos = out / "photos"
    for folder in ("flowers", "flowers_more"):
        for path in sorted((SHARED / "photos" / folder).glob("*/*.jpg")):
            (photos / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, photos / path.parent.name / path.name)
    weights = out / "inception.pb"
    weights.write_bytes(lzma.decompress((SHARED / "models" / "inception_v3_flowers" / "frozen.pb.xz").read_bytes()))
    return photos, weights


def _command(photos: Path, weights: Path, output: Path, *options: str) -> list[str]:
    output.mkdir(exist_ok=True)
    return [
        sys.executable,
        "-m",
        "kigraph",
        "retrain",
        str(photos),
        "-o",
        str(output / "m.pb"),
        "--weights",
        str(weights),
        "--json",
        *options,
    ]


def _run(command: list[str], cache: Path) -> tuple[dict[str, Any], float, float]:
    """The document of a run, seconds by the clock, and seconds of CPU."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, env=_environment(cache), capture_output=True, text=True, check=True, cwd=ROOT)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(done.stdout), time.perf_counter() - start, cpu


def _environment(cache: Path) -> dict[str, str]:
    return os.environ | {"KIGRAPH_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}


def _whole(photos: Path, weights: Path, out: Path) -> dict[str, Any]:
    """A run with an empty cache, one with all features in it; the rate next to classify's on the same photographs."""
    cache = out / "cache"
    result, seconds, cpu = _run(_command(photos, weights, out / "whole"), cache)
    _, again, _ = _run(_command(photos, weights, out / "again"), cache)
    classify = [
        sys.executable,
        "-m",
        "kigraph",
        "classify",
        *map(str, sorted(photos.iterdir())),
        "--weights",
        str(weights),
        "--json",
    ]
    start = time.perf_counter()
    subprocess.run(classify, env=_environment(cache), stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
    classified = time.perf_counter() - start
    tuned = ["--augment", "1", "--fine-tune", "1", "--epochs", "2"]
    first, tuned_seconds, _ = _run(_command(photos, weights, out / "tuned1", *tuned), cache)
    _run(_command(photos, weights, out / "tuned2", *tuned, "--threads", "1"), out / "cache of one thread")
    same = _contents(out / "tuned1") == _contents(out / "tuned2")
    return {
        "accuracy": result["accuracy"], "interval": result["interval"], "penalty": result["penalty"], "seconds": seconds, "cpu seconds": cpu,
        "seconds with features in the cache": again, "seconds of classify": classified,
        "augmented and tuned": {"accuracy": first["accuracy"], "seconds": tuned_seconds, "same bits": same},
    }  # fmt: skip


def _rates(photos: Path, weights: Path, out: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Photographs a second, and processor time of one: features into an empty cache, and labels, in turn in one process; medians."""
    import kigraph as ki
    from kigraph.retraining.features import Item, Store, compute
    from kigraph.retraining.photos import collect
    from kigraph.retraining.trunk import find_trunk

    model = ki.load(weights)
    trunk, items = find_trunk(model), [Item(p.path, p.digest) for p in collect(photos).photos]
    paths = [item.path for item in items]
    times: dict[str, list[tuple[float, float]]] = {"features": [], "classify": []}
    for turn in range(rounds + 1):
        for name, taken in times.items():
            start, cpu = time.perf_counter(), time.process_time()
            if name == "features":
                compute(trunk, items, Store(out / f"rates{turn}", (trunk.count,)))
            else:
                assert sum(answer.error is None for answer in model.classify_many(paths)) == len(items)
            taken.append((time.perf_counter() - start, time.process_time() - cpu))
    return {
        name: {
            "photographs a second": len(items) / statistics.median(wall for wall, _ in taken[1:]),
            "ms of processor time for one": statistics.median(used for _, used in taken[1:]) / len(items) * 1e3,
        }
        for name, taken in times.items()
    }  # the first turn compiles


def _contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def _scikit_learn(photos: Path, weights: Path, out: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Its accuracy on the same features and split: of the same problem, and with its default penalty."""
    os.environ["KIGRAPH_CACHE_DIR"] = str(out / "cache")
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by the copy in SciPy; many threads only wait for each other here
    from sklearn.linear_model import LogisticRegression

    import kigraph as ki
    from kigraph.retraining.features import Item, Store, compute, trunk_key
    from kigraph.retraining.head import Data, _Problem, class_weights
    from kigraph.retraining.photos import collect, split
    from kigraph.retraining.trunk import find_trunk

    trunk = find_trunk(ki.load(weights))
    all_ = collect(photos)
    split(all_, 0.1, 0.1)
    computed = compute(trunk, [Item(p.path, p.digest) for p in all_.photos], Store.of(trunk_key(trunk), (trunk.count,)))
    assert computed.kept == len(all_.photos)
    labels = np.array([p.label for p in all_.photos])
    train, test = (np.array([p.part == part for p in all_.photos]) for part in ("training", "testing"))
    x, y = computed.features[train], labels[train]
    classes = len(all_.classes)
    scale = _Problem(Data(x, y), classes, class_weights(y, classes, True), None).scale
    scores = {}
    for name, c in (("accuracy", 1 / (len(y) * found["penalty"] * scale**2)), ("accuracy with C = 1", 1.0)):
        model = LogisticRegression(C=c, class_weight="balanced", max_iter=5000, tol=1e-6).fit(x.astype(np.float64), y)
        scores[name] = float(model.score(computed.features[test], labels[test]))
    return scores


def _killed(photos: Path, weights: Path, out: Path, kills: int, rng: random.Random, seconds: float) -> dict[str, Any]:
    """Kills runs at random instants, each going on from the one before, and compares the last one's files."""
    expected, done, same, rounds = _contents(out / "whole"), 0, True, 0
    while done < kills:
        rounds += 1
        folder, cache = out / f"killed{rounds}", out / f"cache of killed{rounds}"
        command = _command(photos, weights, folder)
        for _ in range(min(5, kills - done)):
            process = subprocess.Popen(
                command, env=_environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
            )
            time.sleep(rng.uniform(0.2, 0.6 * seconds))
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1  # one that had ended already counts, too: its files are compared
        _run(command, cache)
        same = same and _contents(folder) == expected
    return {"kills": done, "runs": rounds, "same bits": same}


if __name__ == "__main__":
    sys.exit(main())
