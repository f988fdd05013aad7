"""Single ops next to ONNX Runtime (a file of one op), PyTorch and NumPy, in float32, in turn in one process.

    make bench-ops                               or: python -m benchmarks.ops
    python -m benchmarks.ops -k depthwise        rows with this in their name
    python -m benchmarks.ops --part 2/6          the second of six parts; --show puts results of parts together

Map of the folder (arrows of import point down)::

    __main__.py   the command
    report.py     table and picture
    turns.py      a row on every contender: checked, then timed in turn
    listed.py     all rows: of networks, by hand, and those of ../against_numpy.py
    walked.py     rows from the ops of networks (../nets);   by_hand.py: sizes that no network has
    in_torch.py   ops in PyTorch
    row.py        what a row is
"""
