"""tf.summary: what TensorBoard's own reader finds in the files. Skips without tensorboardX or tensorboard (not in dev)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kigraph.compat.v1 as tf


def test_tensorboard_reads_scalars_histograms_pictures_and_the_graph(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="needs the extra tensorboard")
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard")
    tf.reset_default_graph()
    with tf.name_scope("train"):
        w = tf.Variable([1.0, -2.0, 4.0], name="w")
        loss = tf.reduce_sum(tf.square(w), name="loss")
        step = tf.train.GradientDescentOptimizer(0.25).minimize(loss)
    tf.summary.scalar("loss", loss)
    tf.summary.histogram("weights", w)
    tf.summary.image("picture", tf.ones([1, 2, 3, 3]))
    merged = tf.summary.merge_all()
    with tf.Session() as sess:
        writer = tf.summary.FileWriter(str(tmp_path), sess.graph)
        sess.run(tf.global_variables_initializer())
        for i in range(3):
            summary, _ = sess.run([merged, step])
            writer.add_summary(summary, i)
        writer.close()
    found = events.EventAccumulator(str(tmp_path), size_guidance={"histograms": 0}).Reload()
    tags = found.Tags()
    assert (tags["scalars"], tags["histograms"], tags["graph"]) == (["loss"], ["weights"], True)
    assert len(tags["images"]) == 1
    assert tags["images"][0].startswith("picture/image")
    np.testing.assert_allclose([e.value for e in found.Scalars("loss")], [21.0, 21.0 / 4, 21.0 / 16])
    assert [e.step for e in found.Scalars("loss")] == [0, 1, 2]
    assert found.Histograms("weights")[0].histogram_value.max == 4.0
    assert {"train/w", "train/loss"} <= {n.name for n in found.Graph().node}
