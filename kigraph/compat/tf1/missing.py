"""Names of TensorFlow 1 that are not here, and what to use in their place."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["MISSING", "refuse"]

#: Name -> what to do instead.
MISSING: dict[str, str] = {
    "SparseTensor": "dense tensors; tf.scatter_nd makes one of indices and values",
    "TensorArray": "carry a tensor as a loop variable, and tf.concat with shape_invariants",
    "bfloat16": "tf.float32; a kigraph session's precision='bf16'",
    "contrib": "tf.layers, tf.nn, tf.nn.rnn_cell (contrib.rnn); xavier_initializer is tf.glorot_uniform_initializer",
    "data.TextLineDataset": "Dataset.from_tensor_slices of the lines that Python read",
    "data.TFRecordDataset": "read with Python, and Dataset.from_generator",
    "data.experimental": "Dataset.map, batch, shuffle, prefetch",
    "distribute": "a session runs in one process",
    "estimator": "kigraph.train.Model, or a loop of Session.run",
    "enable_eager_execution": "Session.run: kigraph has graphs only",
    "FIFOQueue": "tf.data.Dataset, or batches fed through feed_dict",
    "QueueRunner": "tf.data.Dataset, or batches fed through feed_dict",
    "keras": "kigraph.train.Model and its layers; ki.load reads Keras files",
    "layers.Dense": "tf.layers.dense",
    "layers.Conv2D": "tf.layers.conv2d",
    "multinomial": "draw with NumPy and feed the numbers",
    "py_func": "a graph runs no Python; fetch the value, compute, and feed the result",
    "py_function": "a graph runs no Python; fetch the value, compute, and feed the result",
    "numpy_function": "a graph runs no Python; fetch the value, compute, and feed the result",
    "saved_model": "ki.load reads a SavedModel folder; Graph.of(ki.load(path).graph) runs it here",
    "Saver": "tf.train.Saver",
    "sparse_placeholder": "tf.placeholder of a dense tensor",
    "string_to_number": "parse with Python and feed numbers",
    "svd": "numpy.linalg.svd on a fetched value",
    "nn.ctc_loss": "no op of kigraph computes it",
    "nn.raw_rnn": "tf.nn.dynamic_rnn, or the cell called step by step",
    "train.Coordinator": "tf.data.Dataset, or batches fed through feed_dict",
    "train.FtrlOptimizer": "tf.train.AdagradOptimizer or AdamOptimizer",
    "train.ProximalGradientDescentOptimizer": "tf.train.GradientDescentOptimizer",
    "train.MonitoredTrainingSession": "tf.Session with tf.train.Saver",
    "train.Server": "a session runs in one process",
    "train.Supervisor": "tf.Session with tf.train.Saver",
    "train.batch": "tf.data.Dataset, or batches fed through feed_dict",
    "train.import_meta_graph": "ki.load('PREFIX.meta') reads a training graph with its checkpoint; or build the graph, and Saver.restore",
    "train.shuffle_batch": "tf.data.Dataset, or batches fed through feed_dict",
    "train.start_queue_runners": "tf.data.Dataset, or batches fed through feed_dict",
    "train.write_graph": "open(path, 'wb').write(tf.get_default_graph().as_graph_def().SerializeToString())",
    "TFRecordReader": "read with Python and feed arrays",
    "TextLineReader": "read with Python and feed arrays",
    "WholeFileReader": "tf.read_file",
    "decode_csv": "read with Python and feed arrays",
    "test": "unittest and numpy.testing",
    "write_file": "fetch the value and write it with Python",
}


def refuse(full: str, known: tuple[str, ...]) -> NoReturn:
    """AttributeError for a name that is not here: the alternative, or similar names."""
    from difflib import get_close_matches

    remedy = MISSING.get(full)
    if remedy is None:
        near = get_close_matches(full.rpartition(".")[2], known, 3)
        remedy = f"similar: {', '.join(near)}" if near else "docs/compat-v1.md lists what there is"
    else:
        remedy = f"use instead: {remedy}"
    raise AttributeError(f"kigraph.compat.v1 has no {full}; {remedy}")
