"""Handwritten digits (scikit-learn's bundled set, 8 x 8 pixels): a small CNN trained to at least 97 % on held-out images.

pip install scikit-learn
python examples/digits.py          # prints the accuracy, writes out/digits.png, .csv and the trained model out/digits.pb
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from kigraph.train import Adam, Model
from kigraph.train.layers import Conv2D, Dense, Dropout, Flatten, MaxPool2D

Array = np.ndarray[Any, Any]


def data() -> tuple[Array, Array, Array, Array]:
    """Training images and labels, held-out images and labels: every fifth image is held out."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SystemExit(f"the digits are scikit-learn's ({error}): pip install scikit-learn") from None

    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    held_out = np.arange(len(images)) % 5 == 0
    return images[~held_out], digits.target[~held_out], images[held_out], digits.target[held_out]


def make_model(seed: int = 0) -> Model:
    layers = [
        Conv2D(16, 3, activation="relu"),
        Conv2D(32, 3, activation="relu"),
        MaxPool2D(2),
        Dropout(0.25),
        Flatten(),
        Dense(64, activation="relu"),
        Dense(10),
    ]
    return Model(layers, (8, 8, 1), optimizer=Adam(0.002), seed=seed, classes=[str(n) for n in range(10)])


def draw(path: Path, model: Model, images: Array, labels: Array) -> None:
    """Some held-out digits with the answers; the wrong ones in red, first."""
    from matplotlib.figure import Figure

    answers = model.predict(images).argmax(1)
    order = np.argsort(answers == labels, kind="stable")[:24]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, i in zip(figure.subplots(3, 8).ravel(), order, strict=True):
        axes.imshow(images[i, ..., 0], cmap="gray_r")
        axes.set_title(f"{answers[i]}" + ("" if answers[i] == labels[i] else f" (is {labels[i]})"),
                       color="black" if answers[i] == labels[i] else "red", fontsize=9)  # fmt: skip
        axes.axis("off")
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("-o", "--out", type=Path, default=Path("out"))
    args = parser.parse_args(argv)
    images, labels, test_images, test_labels = data()
    model = make_model()
    history = model.fit(images, labels, args.epochs, batch_size=32, validation_data=(test_images, test_labels))
    accuracy = model.evaluate(test_images, test_labels)["accuracy"]
    print(f"{accuracy:.1%} of {len(test_labels)} held-out digits right after {args.epochs} epochs")
    history.save_csv(args.out / "digits.csv")
    history.save_picture(args.out / "digits_history.png", "digits")
    draw(args.out / "digits.png", model, test_images, test_labels)
    print(f"wrote {model.save(args.out / 'digits.pb')}, digits.png, digits_history.png and digits.csv")
    return accuracy


if __name__ == "__main__":
    main()
