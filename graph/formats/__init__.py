"""The layouts of other programs' files, for the loaders and the writers.

    limits.py        LoadLimits, and the Budget that every reader spends from
    json_text.py     JSON, counted before it is parsed
    source.py        a file: opened once, read by position; digests.py: SHA-256 of files, remembered
    beside.py        the further files of a model, in its own folder
    archive.py       zip archives
    sstable.py       sorted tables, with snappy.py, crc32c.py and ordered_code.py
    protobuf/        Protocol Buffers: wire format, numbers, writing
    tensorflow.py    TensorFlow's messages as records; tensorproto.py: constants; saved_model.py: around a graph;
                     tensor_bundle.py: of checkpoints
    onnx.py          ONNX's messages as records; onnx_tensors.py: its constants to literals
    beside.py        other files of a model, inside its folder
    hdf5/            HDF5
    flatbuffers/     FlatBuffers, and TensorFlow Lite's tables as records
    pickle_symbols.py  a pickle's instructions, without running any

Nothing here knows a network, runs code from a file, or allocates what a file merely declares.
"""

from __future__ import annotations

__all__: list[str] = []
