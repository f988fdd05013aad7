"""Mutates a Keras file and loads it, for test_fuzz: run as a program, argument: a folder for its files."""

from __future__ import annotations

import random
import resource
import sys
import time
from pathlib import Path

import h5py
import numpy as np

from kigraph.graph.errors import LoadError
from kigraph.graph.loaders import LoadLimits, load

LIMITS = LoadLimits(max_bytes=1 << 22, max_tensors=200, max_nodes=500)
ROUNDS = 1500
SECONDS = 20


def seed(path: Path) -> bytes:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv2d_1", b"dense"]
        for layer, options in (("conv2d_1", {}), ("dense", {"compression": "gzip", "shuffle": True})):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
            group.create_dataset(f"{layer}/kernel:0", data=np.arange(24, dtype=np.float32).reshape(2, 3, 4), **options)
            group.create_dataset(f"{layer}/bias:0", data=np.arange(4, dtype=np.float64))
    return path.read_bytes()


def main() -> None:
    folder = Path(sys.argv[1])
    data = seed(folder / "seed.h5")
    # An allocation beyond this is a failure of the guards.
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    rng = random.Random(0)
    end = time.monotonic() + SECONDS
    loaded = rounds = 0
    slowest = 0.0
    while rounds < ROUNDS and time.monotonic() < end:
        changed = bytearray(data)
        for _ in range(rng.choice([1, 1, 2, 5])):
            changed[rng.randrange(len(changed))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        if rng.random() < 0.1:
            del changed[rng.randrange(len(changed)) :]
        path = folder / f"{rounds % 2}.h5"
        path.write_bytes(bytes(changed))
        start = time.monotonic()
        try:
            weights = load(path, LIMITS).weights
            for name in weights or ():
                weights.read(name)  # type: ignore[union-attr]
            loaded += 1
        except LoadError:
            pass
        slowest = max(slowest, time.monotonic() - start)
        rounds += 1
    assert slowest < 3, f"a file took {slowest:.1f} s"
    print(f"survived {rounds} files, {loaded} of them loaded, slowest {slowest * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
