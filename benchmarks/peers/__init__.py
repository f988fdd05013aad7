"""Inception v3 next to other runtimes in float32, bfloat16 and int8, with identical weights, in turn in one run.

    make bench-peers                                   or: python -m benchmarks.peers
    python -m benchmarks.peers --quick                 a first impression in about a minute
    python -m benchmarks.peers --precision bf16,int8   only these; default: fp32, bf16 and int8
    python -m benchmarks.peers --layers                each convolution against ONNX Runtime and the roofline

Map of the folder (arrows of import point down)::

    __main__.py           the command
    shared_parts.py       what it shares with ../precision_accuracy.py
    report.py picture.py  table and text; PNG
    rounds.py whole.py    warm times in turn; cold start and peak memory of whole processes
    layers.py             the convolutions one by one
    worker.py             the process that one contender lives in, and how to talk to it
    contenders.py         who takes part
    runtimes.py           how each is made to run; torch_network.py: PyTorch
    quantised.py          the network as int8 files, by the peers' own tools
    network.py            the network as files for all of them, the images, and the truth in float64

Every contender has a process of its own for each setting, so that thread pools do not meet; one runs at a time, the others
wait for their turn without spinning.
"""
