"""Apples or oranges: rules that a person wrote against a network that learnt.

The pictures are drawn by fruit_images.py so that colour does not give the answer away. The rules know what people would
say about apples and oranges; the network only sees examples. Both are judged on pictures that neither has seen.

    python examples/apples_or_oranges.py               # judges the rules and the model that comes with kigraph
    python examples/apples_or_oranges.py --train       # trains the model anew (about a quarter of an hour)
    python examples/apples_or_oranges.py --train --ship    # and puts it into the package, with two pictures
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.train import Adam, Model
from kigraph.train.layers import Activation, BatchNorm, Conv2D, Dense, Dropout, GlobalAvgPool2D, Layer, MaxPool2D

sys.path.insert(0, str(Path(__file__).parent))
from fruit_images import CLASSES, SIZE, render_set

Array = np.ndarray[Any, Any]

#: Seeds of the three sets of pictures; no picture is in two of them.
TRAINING_SEED, VALIDATION_SEED, HELD_OUT_SEED = 1, 2, 3
SHIPPED = Path(str(ki.__path__[0])) / "data" / "apples_or_oranges.pb"


def hue_of(images: Array) -> Array:
    """Hue in degrees of every pixel."""
    r, g, b = np.moveaxis(images, -1, 0)
    high, low = images.max(-1), images.min(-1)
    span = np.where(high > low, high - low, 1)
    hue = np.where(high == r, (g - b) / span % 6, np.where(high == g, (b - r) / span + 2, (r - g) / span + 4))
    result: Array = hue * 60
    return result


def rules(images: Array) -> Array:
    """What a person would write down: 1 (orange) if the middle is orange and rough, else 0 (apple)."""
    low, high = SIZE // 4, 3 * SIZE // 4
    middle = images[:, low:high, low:high]
    hue = np.median(hue_of(middle).reshape(len(images), -1), axis=1)
    is_orange = (hue > 15) & (hue < 50)
    grey = middle.mean(-1)
    roughness = np.abs(np.diff(grey, axis=1)).mean((1, 2)) / (grey.mean((1, 2)) + 1e-6)
    very_shiny = middle.max((1, 2, 3)) > 0.98
    result: Array = (is_orange & ~(very_shiny & (roughness < 0.05))).astype(np.int64)
    return result


def make_model(seed: int = 0) -> Model:
    def block(filters: int) -> list[Layer]:
        return [Conv2D(filters, 3, use_bias=False), BatchNorm(), Activation("relu")]

    layers = [*block(16), MaxPool2D(2), *block(32), MaxPool2D(2), *block(48), *block(48), MaxPool2D(2), *block(64),
              GlobalAvgPool2D(), Dropout(0.3), Dense(2)]  # fmt: skip
    return Model(layers, (SIZE, SIZE, 3), optimizer=Adam(0.002), seed=seed, classes=CLASSES)


def train(epochs: int, count: int, out: Path) -> Model:
    images, labels = render_set(count, TRAINING_SEED)
    validation = render_set(1000, VALIDATION_SEED)
    model = make_model()
    rng = np.random.default_rng(0)
    while model.epoch < epochs:
        # Mirrored pictures are as good as new ones; the rate falls to nothing over the epochs.
        mirrored = np.where(rng.random(count)[:, None, None, None] < 0.5, images[:, :, ::-1], images)
        model.set_learning_rate(0.002 * 0.5 * (1 + np.cos(np.pi * model.epoch / epochs)) + 1e-5)
        model.fit(mirrored, labels, model.epoch + 1, batch_size=64, validation_data=validation)
        print("  ".join(f"{k} {v:.4g}" for k, v in model.history.rows[-1].items()), flush=True)
    model.history.save_csv(out / "apples_or_oranges.csv")
    model.history.save_picture(out / "apples_or_oranges_history.png", "apples or oranges")
    return model


def judge(path: Path, count: int) -> tuple[float, float, Array, Array, Array]:
    """Accuracy of the rules and of the model in ``path`` on held-out pictures; the pictures, labels, answers."""
    images, labels = render_set(count, HELD_OUT_SEED)
    model = ki.load(path)
    answers = np.concatenate([model.predict(images[i : i + 100]) for i in range(0, count, 100)]).argmax(1)
    return float((rules(images) == labels).mean()), float((answers == labels).mean()), images, labels, answers


def draw(path: Path, images: Array, labels: Array, answers: Array, title: str) -> None:
    from matplotlib.figure import Figure

    order = np.argsort(answers == labels, kind="stable")[:8].tolist() + list(range(24))
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    figure.suptitle(title)
    by_rule = rules(images)
    for axes, i in zip(figure.subplots(4, 8).ravel(), order, strict=True):
        axes.imshow(images[i])
        right = answers[i] == labels[i]
        axes.set_title(
            f"{CLASSES[answers[i]]}\nrule: {CLASSES[by_rule[i]]}", fontsize=7, color="black" if right else "red"
        )
        axes.axis("off")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def ship(path: Path) -> None:
    """Puts a trained model into the package, with the first held-out picture of each class."""
    from PIL import Image

    SHIPPED.write_bytes(path.read_bytes())
    images, labels = render_set(20, HELD_OUT_SEED)
    for number, name in enumerate(CLASSES):
        first = int(np.argmax(labels == number))
        Image.fromarray((images[first] * 255).astype(np.uint8)).save(SHIPPED.parent / f"{name}.png")


def main(argv: list[str] | None = None) -> tuple[float, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train anew instead of using the model in the package")
    parser.add_argument("--ship", action="store_true", help="put the trained model into the package")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--pictures", type=int, default=8000, help="pictures to train on (default: 8000)")
    parser.add_argument("--held-out", type=int, default=1000, help="pictures to judge on (default: 1000)")
    parser.add_argument("-o", "--out", type=Path, default=Path("out"))
    args = parser.parse_args(argv)
    path = SHIPPED
    if args.train:
        args.out.mkdir(parents=True, exist_ok=True)
        path = train(args.epochs, args.pictures, args.out).save(args.out / "apples_or_oranges.pb")
    if args.ship:
        ship(path)
    by_rules, learnt, images, labels, answers = judge(path, args.held_out)
    title = f"rules: {by_rules:.1%} right, network: {learnt:.1%} right, of {args.held_out} pictures"
    print(title)
    draw(args.out / "apples_or_oranges.png", images, labels, answers, title + "\nits errors first, in red")
    print(f"wrote {args.out / 'apples_or_oranges.png'}")
    return by_rules, learnt


if __name__ == "__main__":
    main()
