"""Labels for a photograph, and a look inside the network that gives them.

    python examples/classify_photo.py PHOTO [--weights FILE] [--backend NAME]

Without --weights: KIGRAPH_WEIGHTS, else the cache, else a download (see `kigraph weights list`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import kigraph as ki
from kigraph.weights import resolve_weights


def main() -> None:
    parser = argparse.ArgumentParser(description="label a photograph")
    parser.add_argument("photo", help="an image file")
    parser.add_argument("--weights", help="a trained model of any supported format")
    parser.add_argument("--backend", help="numpy, cython, numba or cupy; default: the fastest that is here")
    args = parser.parse_args()

    weights = resolve_weights(args.weights)
    model = ki.load(weights.path, backend=args.backend)
    print(f"{weights.path.name}: {len(model.graph)} operations, {model.session.choice}")
    for label in model.classify(args.photo, top=5):
        print(f"  {label}")

    # The same model as a graph: any tensor can be fetched, here the input of the last softmax.
    card = model.require_card()
    if card.encoded is not None:
        softmax = model.graph.tensor(card.output).op
        logits = model.session.run(softmax.inputs[0], {card.encoded: Path(args.photo).read_bytes()})
        print(f"{softmax.inputs[0].name}: {logits.size} values from {logits.min():.2f} to {logits.max():.2f}")


if __name__ == "__main__":
    main()
