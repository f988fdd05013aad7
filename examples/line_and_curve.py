"""Learning is finding a function: a line learns Y = 2X, fails at Y = 2X^2, and a small network fits the curve.

python examples/line_and_curve.py          # prints the fits, writes out/line_and_curve.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import kigraph as ki
from kigraph.train import Adam, Model
from kigraph.train.layers import Dense

X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]

Array = np.ndarray[Any, Any]


def line() -> tuple[float, float, float]:
    """Fits Y = a * X + b to Y = 2X with graph operations alone; a, b and the mean squared error."""
    with ki.Graph().as_default() as graph:
        x = ki.placeholder(ki.float32, [None, 1], name="x")
        y = ki.placeholder(ki.float32, [None, 1], name="y")
        a = ki.variable(0.0, name="a")
        b = ki.variable(0.0, name="b")
        error = ki.reduce_mean(ki.squared_difference(a * x + b, y), name="error")
        slope_a, slope_b = ki.gradients(error, [a, b])
        step = ki.group(ki.assign_sub(a, 0.5 * slope_a), ki.assign_sub(b, 0.5 * slope_b))
    session = ki.Session(graph)
    for _ in range(100):
        session.run(step, {x: X, y: 2 * X})
    fitted_a, fitted_b, left = session.run([a, b, error], {x: X, y: 2 * X})
    return float(fitted_a), float(fitted_b), float(left)


def fit(hidden: int, epochs: int) -> tuple[Array, float]:
    """Fits Y = 2X^2 with a line (hidden = 0) or a network of one hidden layer; predictions and the error."""
    layers = [Dense(hidden, activation="tanh"), Dense(1)] if hidden else [Dense(1)]
    model = Model(layers, (1,), loss="mean_squared_error", optimizer=Adam(0.02), seed=1)
    model.fit(X, 2 * X**2, epochs=epochs, batch_size=len(X), progress=False)
    return model.predict(X), model.evaluate(X, 2 * X**2)["loss"]


def draw(path: Path, straight: Array, curved: Array) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(X, 2 * X**2, "k.", markersize=3, label="Y = 2X²")
    axes.plot(X, straight, label="a line cannot")
    axes.plot(X, curved, label="a network of 16 neurons can")
    axes.set_xlabel("X")
    axes.set_ylabel("Y")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/line_and_curve.png"))
    args = parser.parse_args(argv)
    a, b, error = line()
    print(f"Y = 2X:    learnt Y = {a:.4f} X + {b:.4f}, mean squared error {error:.2g}")
    straight, line_error = fit(0, 300)
    curved, curve_error = fit(16, 600)
    print(f"Y = 2X^2:  a line's error is {line_error:.3f}, the network's {curve_error:.2g}")
    draw(args.out, straight, curved)
    print(f"wrote {args.out}")
    return {"a": a, "b": b, "error": error, "line_error": line_error, "curve_error": curve_error}


if __name__ == "__main__":
    main()
