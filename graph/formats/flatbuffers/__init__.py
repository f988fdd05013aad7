"""FlatBuffers, as TensorFlow Lite writes it: tables whose offsets are all checked, and the tables themselves as records.

    reader.py        Reader, Table: bounds of tables, vtables, vectors and strings; blocks of the file read as they are needed
    tflite.py        the tables of a TensorFlow Lite model as records
    flex.py          FlexBuffers: the options of custom operators
    tflite_metadata.py   the metadata that a model may carry: how inputs are normalised, files of labels

Records are made of plain values: no recursion, so the depth is that of the schema.
"""

from __future__ import annotations

__all__: list[str] = []
