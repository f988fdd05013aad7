"""The article's last program and its relatives in TensorFlow 1's words: label_image and retrain with a trained Inception v3.

The model and the photographs are looked for in the folder that KIGRAPH_SHARED names; without it these tests skip.
"""

from __future__ import annotations

import lzma
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kigraph as ki
import kigraph.compat.v1 as tf

SHARED = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).parents[3] / "shared")
FOLDER = SHARED / "models" / "inception_v3_flowers"
PHOTOS = SHARED / "photos" / "flowers"

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir() or not PHOTOS.is_dir(), reason="needs the trained model and photographs"
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network as a file, with its labels beside it."""
    folder = tmp_path_factory.mktemp("flowers")
    (folder / "flowers.pb").write_bytes(lzma.decompress((FOLDER / "frozen.pb.xz").read_bytes()))
    (folder / "labels.txt").write_bytes((FOLDER / "labels.txt").read_bytes())
    return folder / "flowers.pb"


def photographs(count: int) -> list[Path]:
    return sorted(PHOTOS.rglob("*.jpg"))[:: len(list(PHOTOS.rglob("*.jpg"))) // count][:count]


def load_graph(path: Path) -> Any:
    graph, graph_def = tf.Graph(), tf.GraphDef()
    with open(path, "rb") as file:
        graph_def.ParseFromString(file.read())
    with graph.as_default():
        tf.import_graph_def(graph_def, name="import")
    return graph


@pytest.fixture(scope="module")
def graph(trained: Path) -> Any:
    """The network's graph, which the tests share."""
    return load_graph(trained)


def test_the_article_s_program_classifies_a_photograph(trained: Path, graph: Any) -> None:
    model = ki.load(trained)
    with tf.Session(graph=graph) as sess:
        softmax = sess.graph.get_tensor_by_name("import/final_result:0")
        for photo in photographs(1):
            data = tf.gfile.FastGFile(str(photo), "rb").read()
            (scores,) = sess.run(softmax, {"import/DecodeJpeg/contents:0": data})
            expected = model.classify(photo, top=1)[0].probability
            assert float(scores.max()) == pytest.approx(expected, abs=1e-5)


def test_label_image(graph: Any) -> None:
    """A graph that reads, resizes and normalises, and the network in a second one."""
    photo = photographs(1)[0]
    with tf.Session() as sess:
        content = tf.read_file(str(photo), "file_reader")
        image = tf.cast(tf.image.decode_jpeg(content, channels=3, name="jpeg_reader"), tf.float32)
        resized = tf.image.resize_bilinear(tf.expand_dims(image, 0), [299, 299])
        normalized = tf.divide(tf.subtract(resized, [0.0]), [1.0])
        pixels = sess.run(normalized)
        raw, expected = sess.run([image, tf.shape(image)])
    assert pixels.shape == (1, 299, 299, 3)
    assert raw.shape == tuple(expected)
    data = photo.read_bytes()
    with tf.Session(graph=graph) as sess:
        output = graph.get_operation_by_name("import/final_result").outputs[0]
        direct = sess.run(output, {"import/DecodeJpeg/contents:0": data})
        names = [op.name for op in graph.get_operations() if op.type == "ResizeBilinear"]
        again = sess.run(output, {f"{names[0]}:0": pixels})
    np.testing.assert_allclose(again, direct, atol=1e-4)


def test_retrain_the_last_layer(graph: Any, tmp_path: Path) -> None:
    """Bottlenecks, a new layer, its training, and the whole as a frozen graph that classifies."""
    chosen = photographs(2)
    with graph.as_default(), tf.Session(graph=graph) as sess:
        pooled = next(
            op for op in reversed(graph.get_operations()) if op.type == "AvgPool" or op.type == "Mean"
        ).outputs[0]
        bottleneck = tf.placeholder_with_default(tf.reshape(pooled, [-1, 2048]), [None, 2048], name="bottleneck")
        truth = tf.placeholder(tf.int64, [None])
        with tf.name_scope("final"):
            w = tf.Variable(tf.truncated_normal([2048, 2], stddev=0.001, seed=1), name="weights")
            b = tf.Variable(tf.zeros([2]), name="biases")
            logits = tf.matmul(bottleneck, w) + b
        result = tf.nn.softmax(logits, name="new_result")
        loss = tf.losses.sparse_softmax_cross_entropy(labels=truth, logits=logits)
        step = tf.train.GradientDescentOptimizer(0.05).minimize(loss)
        sess.run(tf.global_variables_initializer())
        features = np.concatenate(
            [sess.run(bottleneck, {"import/DecodeJpeg/contents:0": p.read_bytes()}) for p in chosen]
        )
        labels = np.array([0, 1])
        first = sess.run(loss, {bottleneck: features, truth: labels})
        for _ in range(30):
            sess.run(step, {bottleneck: features, truth: labels})
        assert sess.run(loss, {bottleneck: features, truth: labels}) < first / 2
        expected = sess.run(result, {bottleneck: features})
        made = tf.graph_util.convert_variables_to_constants(sess, graph.as_graph_def(), ["new_result"])
    path = tmp_path / "new.pb"
    path.write_bytes(made.SerializeToString())
    with ki.Session(ki.load(path).graph) as plain:
        found = plain.run("new_result:0", {"import/DecodeJpeg/contents:0": chosen[0].read_bytes()})
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5)
