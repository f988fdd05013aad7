"""Networks besides Inception v3 next to other runtimes in float32, with identical seeded weights, in turn in one run.

    make bench-nets                                    or: python -m benchmarks.nets
    python -m benchmarks.nets --quick                  a first impression: 1 thread, batch 1, 3 short rounds
    python -m benchmarks.nets --only vgg-16,vit-b-16   only these networks

Map of the folder (arrows of import point down)::

    __main__.py    the command
    report.py      table, text, picture
    zoo.py         the networks and their files in the cache folder
    states.py      state dicts of torchvision's networks;   separable.py: networks of keras.applications, layer by layer
    seeded.py      seeded arrays

Contenders, their processes, turns and ratios are those of ../peers.
"""
