"""Writes kernels/tuning/shipped.json: which kernel is fastest for the layers of well-known networks, per instruction set.

    python -m benchmarks.shipped_table              # on an otherwise idle machine; takes some minutes
    python -m benchmarks.shipped_table --isa avx2   # one instruction set; the others stay as they are

It is what a first run uses before anything was measured on its own machine. Every instruction set is measured in a
process of its own (KIGRAPH_ISA). The times are those of this machine; what counts is their order, which differs little
between processors of one instruction set. A table from before a kernel was written is not used for the layers that this
kernel can run, so run this again after adding or changing a kernel.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.kernel import Query
from kigraph.kernels.registry import legal_kernels
from kigraph.kernels.tensor import TensorType
from kigraph.kernels.tuning import accurate_enough, measure, signature
from kigraph.kernels.tuning.tables import cpu_model

from .conv_layers import Shape, inception_shapes

__all__ = ["queries"]

TABLE = Path(__file__).parents[1] / "kernels" / "tuning" / "shipped.json"
#: (image, channels in, channels out): the 3 x 3 convolutions of ResNet-18 to -152 and of VGG.
_RESNET = ((56, 64, 64), (28, 128, 128), (14, 256, 256), (7, 512, 512))
_VGG = ((224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), (56, 256, 256), (28, 256, 512), (28, 512, 512), (14, 512, 512))  # fmt: skip


def queries() -> dict[str, Query]:
    """The layers by signature, with bias and ReLU."""
    shapes: list[Shape] = [shape for _, shape in inception_shapes()]
    shapes += [(n, n, cin, 3, 3, cout, 1, "SAME") for n, cin, cout in (*_RESNET, *_VGG)]
    found: dict[str, Query] = {}
    for h, w, cin, kh, kw, cout, stride, padding in shapes:
        params = Conv2DParams((stride, stride), padding, (1, 1), "relu")  # type: ignore[arg-type]
        types = tuple(TensorType(np.dtype(np.float32), s) for s in ((1, h, w, cin), (kh, kw, cin, cout), (cout,)))
        query = Query(CONV2D, types, CONV2D.check(types, params), params, frozenset([1, 2]))
        found[signature(query) or ""] = query
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", default="avx512,avx2,portable", help="instruction sets (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the least of so many measurements counts (default: 3)")
    parser.add_argument("--here", metavar="ISA", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(_measure(args.rounds)))
        return
    targets = json.loads(TABLE.read_text())["targets"] if TABLE.exists() else {}
    for isa in args.isa.split(","):
        print(f"measuring {isa} ...", file=sys.stderr)
        command = [sys.executable, "-m", "benchmarks.shipped_table", "--here", isa, "--rounds", str(args.rounds)]
        done = subprocess.run(command, env=os.environ | {"KIGRAPH_ISA": isa}, stdout=subprocess.PIPE, check=True)
        targets[f"cython {isa}"] = json.loads(done.stdout)
    lines = [f' "cpu": {json.dumps(cpu_model())}']
    bodies = []
    for name, layers in sorted(targets.items()):
        rows = ",\n".join(f"   {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(layers.items()))
        bodies.append(f"  {json.dumps(name)}: {{\n{rows}\n  }}")
    lines.append(' "targets": {\n' + ",\n".join(bodies) + "\n }")
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(TABLE)


def _measure(rounds: int) -> dict[str, dict[str, float]]:
    times: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for layer, query in queries().items():
            kernels = accurate_enough(legal_kernels(query, "cython"))
            if len(kernels) > 1:
                for name, t in measure(query, kernels).items():
                    best = times.setdefault(layer, {})
                    best[name] = min(best.get(name, t), t)
    return times


if __name__ == "__main__":
    main()
