"""A trained network learns the classes of your own photographs, and names a new one.

    python examples/retrain_photos.py FOLDER PHOTO [--weights FILE] [--out mine.pb]

FOLDER has one sub-folder of photographs for each class: dogs/beagle/, dogs/poodle/, ... Without --weights: KIGRAPH_WEIGHTS, else
the official Inception v3. docs/retrain.md explains every step; `kigraph retrain` is the same as a command.
"""

from __future__ import annotations

import argparse

import kigraph as ki


def main() -> None:
    parser = argparse.ArgumentParser(description="retrain a network and use it")
    parser.add_argument("folder", help="one sub-folder of photographs for each class")
    parser.add_argument("photo", help="a photograph to name in the end")
    parser.add_argument("--weights", help="a trained classifier of any supported format")
    parser.add_argument("--out", default="mine.pb", help="the new model")
    args = parser.parse_args()

    result = ki.retrain(args.folder, output=args.out, weights=args.weights)
    for label, count in zip(result.classes, result.counts["all"], strict=True):
        print(f"  {label}: {count} photographs")
    if result.accuracy is not None:
        low, high = result.interval
        print(f"right: {result.right} of {result.total} that it has never seen; 95 % interval {low:.0%} to {high:.0%}")

    # The file is a model as any other from now on.
    model = ki.load(args.out)
    print(model.classify(args.photo, top=2))


if __name__ == "__main__":
    main()
