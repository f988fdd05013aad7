"""Folders with lookup tables, as TensorFlow writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .written import agrees

tf = pytest.importorskip("tensorflow", reason="the writer of these files")

RNG = np.random.default_rng(11)
W = RNG.normal(0, 1, (6, 4)).astype(np.float32)
CLASSES = ["daisy", "rose", "sun flower", "tulip"]


def static(folder: Path) -> Any:
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.range(4, dtype=tf.int64), tf.constant(CLASSES)), "?"
    )


def of_a_file(folder: Path) -> Any:
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    return tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(str(folder / "classes.txt"), tf.int64, number, tf.string, whole), "?"
    )


def mutable(folder: Path) -> Any:
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.string, "?")
    table.insert(tf.range(4, dtype=tf.int64), tf.constant(CLASSES))
    return table


@pytest.mark.parametrize("kind", [static, of_a_file, mutable])
def test_classes_as_strings(kind: Any, tmp_path: Path) -> None:
    module = tf.Module()
    module.table, module.w = kind(tmp_path), tf.Variable(W)

    def call(x: Any) -> Any:
        scores = tf.nn.softmax(x @ module.w)
        best = tf.math.top_k(scores, 3)
        return {"classes": module.table.lookup(tf.cast(best.indices, tf.int64) + 1), "scores": best.values}

    module.call = tf.function(call, input_signature=[tf.TensorSpec([None, 6], tf.float32, name="x")])
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.call)
    x = RNG.normal(0, 1, (5, 6)).astype(np.float32)
    agrees(tmp_path / "m", {"x": x}, {k: v.numpy() for k, v in module.call(x).items()})
