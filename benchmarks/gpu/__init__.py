"""Everything that a GPU proves and measures, in parts that ``benchmarks/gpu_check.sh`` runs one after the other.

    environment.py    part 0: device, driver, versions, commit
    smoke.py          part 1: first contact: every tile, precision and split, one captured graph
    builds.py         part 2: every build compiled for the device, many at once, into the cubin cache
    ceilings.py       part 3: what the device can do at most: copies, matrix products, launches, graph nodes
    golden.py         part 4: right answers: seeded Inception v3 layer by layer, MobileNet, photographs
    speed.py          part 5: Inception v3 on the backend: captured, launched, Session.run, every step
    torch_eager.py    part 6: the same network and inputs in PyTorch
    torch_compile.py  parts 7 and 11: the same through torch.compile
    sanitize.py       part 8: compute-sanitizer over the tiles
    suite.py          part 9: the tests that need a GPU
    counters.py       part 10: hardware counters of the hottest kernels by ncu
    table.py          part 12: the table of all figures

    record.py         one JSON line per figure, flushed to $OUT/results.jsonl
    dry.py            what --dry means: the stand-in in place of a GPU
    inputs.py         the images that all parts feed
    reference.py      seeded Inception v3 in float64
    tiles.py          convolutions of random operands through a tile of choice
    clock.py          device time by CUDA events, through CuPy
    torch_common.py   what the parts in PyTorch share: the search for it, their clock
    torch_model.py    Inception v3 in PyTorch with our weights
    sass.py           machine code of the hot builds, counted; needs no GPU

Each part is ``python -m benchmarks.gpu.NAME [--dry]``; it ends with 1 if a result was wrong, and never relies on another.
"""
