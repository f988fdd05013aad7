"""Times the convolutions of Inception v3 one by one: ms, GFLOP/s and the share of the time per layer.

    python benchmarks/conv_layers.py --backend cython --threads 1 --batch 1

Layers of equal shape are timed once and counted as often as they occur. Inputs and outputs of the layers take turns in
memory, so weights come from wherever they would come from in a network that does not fit the caches (``--cold``) or from
the caches (default).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any

import numpy as np

from kigraph.kernels.conformance.check import FixedConstants
from kigraph.kernels.contracts.conv2d import CONV2D, Conv2DParams
from kigraph.kernels.devices import HOST
from kigraph.kernels.inception_v3 import CONVOLUTIONS
from kigraph.kernels.kernel import Query
from kigraph.kernels.registry import select
from kigraph.kernels.tensor import TensorType

__all__ = ["Shape", "inception_shapes"]

Shape = tuple[int, int, int, int, int, int, int, str]


def inception_shapes() -> list[tuple[str, Shape]]:
    """(name, (height, width, cin, kernel height, kernel width, cout, stride, padding)) of each layer."""
    return [(c.name, (c.size, c.size, c.cin, *c.kernel, c.cout, c.stride, c.padding)) for c in CONVOLUTIONS]


def prepare(shape: Shape, args: argparse.Namespace) -> tuple[str, Any, float]:
    """The bound kernel of one layer, its name, and its FLOPs."""
    h, w, cin, kh, kw, cout, stride, padding = shape
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s, dtype=np.float32) for s in ((args.batch, h, w, cin), (kh, kw, cin, cout), (cout,))]
    inputs = []
    for a in arrays:
        aligned = HOST.view(HOST.allocate(a.nbytes), 0, a.dtype, a.shape)
        aligned[...] = a
        inputs.append(aligned)
    params = Conv2DParams((stride, stride), padding, (1, 1), "relu")  # type: ignore[arg-type]
    types = tuple(TensorType(a.dtype, a.shape) for a in inputs)
    outputs = CONV2D.check(types, params)
    query = Query(CONV2D, types, outputs, params, frozenset([1, 2]), args.threads)
    kernel = select(query, [args.backend]).kernel
    assert kernel.prepare is not None
    prepared = kernel.prepare(query, FixedConstants({1: inputs[1], 2: inputs[2]}))
    y = HOST.view(HOST.allocate(outputs[0].nbytes), 0, outputs[0].dtype, outputs[0].dims)
    given = [None if i in prepared.absorbed else a for i, a in enumerate(inputs)]
    run = prepared.bind(given, [y], HOST.allocate(prepared.workspace_bytes))
    tile = getattr(getattr(prepared, "igemm", None), "tile", "")
    return f"{kernel.name} {tile}", run, float(CONV2D.flops(types, outputs, params))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="cython")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--match", default="", help="only layers whose name has this in it")
    parser.add_argument("--least", action="store_true", help="take the least time instead of the median")
    parser.add_argument("--cold", action="store_true", help="run all layers in turn instead of each several times")
    args = parser.parse_args()
    layers = [(name, shape) for name, shape in inception_shapes() if args.match in name]
    counts = Counter(shape for _, shape in layers)
    order = (
        [(name, shape) for name, shape in layers]
        if args.cold
        else list({s: (n, s) for n, s in layers[::-1]}.values())[::-1]
    )
    runs = [(name, shape, *prepare(shape, args)) for name, shape in order]
    times: dict[str, list[float]] = {name: [] for name, *_ in runs}
    for _turn in range(args.repeats if args.cold else 1):
        for name, _, _, run, _ in runs:
            for _ in range(1 if args.cold else args.repeats):
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    total = flops = 0.0
    for name, shape, kernel, _, work in runs:
        seconds = min(times[name]) if args.least else float(np.median(times[name][1:]))
        count = 1 if args.cold else counts[shape]
        total, flops = total + seconds * count, flops + work * count
        text = "{}x{}x{} {}x{}->{} s{} {}".format(*shape)
        print(f"{name:10} {count:2} x {text:32} {seconds * 1e3:8.3f} ms {work / seconds / 1e9:7.1f} GFLOP/s  {kernel}")
    print(f"all: {total * 1e3:.2f} ms, {flops / total / 1e9:.1f} GFLOP/s, {total * 1e3 / args.batch:.2f} ms per image")


if __name__ == "__main__":
    main()
