"""Programs for TensorFlow 1 about graphs: frozen ones, names and errors; see tf1_programs.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["errors", "frozen", "names"]

Results = dict[str, Any]


def frozen(tf: Any, folder: Path) -> Results:
    """Variables to constants, a .pb file, and its graph imported into another one, with a tensor in place of its input."""
    x = tf.placeholder(tf.float32, [None, 3], name="x")
    w = tf.get_variable("w", [3, 2], initializer=tf.random_uniform_initializer(-1.0, 1.0, seed=3))
    tf.nn.softmax(tf.matmul(x, w), name="final_result")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        made = tf.graph_util.convert_variables_to_constants(sess, sess.graph.as_graph_def(), ["final_result"])
    path = folder / "frozen.pb"
    with tf.gfile.GFile(str(path), "wb") as file:
        file.write(made.SerializeToString())
    read = tf.GraphDef()
    with tf.gfile.FastGFile(str(path), "rb") as file:
        read.ParseFromString(file.read())
    with tf.Graph().as_default() as graph:
        half = tf.constant([[0.5, 1.0, -1.0]])
        result, operation = tf.import_graph_def(read, {"x:0": half}, ["final_result:0", "final_result"], name="net")
        tf.import_graph_def(read, name="")
        with tf.Session(graph=graph) as sess:
            direct = sess.run("final_result:0", {"x:0": [[1, 2, 3]]})
            return {
                "mapped": sess.run(result),
                "direct": direct,
                "names": [result.name, operation.name],
                "ops": sorted(n.name for n in read.node),
            }


def errors(tf: Any, folder: Path) -> Results:
    """What goes wrong, by class of exception."""
    x = tf.placeholder(tf.float32, [2], name="x")
    v = tf.Variable([1.0, 2.0], name="v")
    other = tf.Graph()
    sess = tf.Session()

    def kind(function: Callable[[], Any]) -> str:
        try:
            function()
        except Exception as error:
            known = (tf.errors.OpError, KeyError, ValueError, TypeError, RuntimeError)
            return next(
                (
                    k.__name__ if k is not tf.errors.OpError else type(error).__name__
                    for k in known
                    if isinstance(error, k)
                ),
                "?",
            )
        return "none"

    def shared() -> Any:
        tf.get_variable("twice", [1])
        return tf.get_variable("twice", [1])

    def reused() -> Any:
        with tf.variable_scope("nothing", reuse=True):
            return tf.get_variable("there", [1])

    with tf.control_dependencies([tf.Assert(x[0] > 0.0, [x])]):
        checked = tf.identity(x)
    found = {
        "unfed": lambda: sess.run(x), "uninitialised": lambda: sess.run(v), "shape": lambda: tf.matmul(tf.ones([2, 3]), tf.ones([2, 3])),
        "fed shape": lambda: sess.run(x, {x: [1, 2, 3]}), "tensor fed": lambda: sess.run(x, {x: x + 1.0}), "unknown": lambda: sess.run("nothing:0"),
        "name": lambda: sess.graph.get_tensor_by_name("x"), "missing": lambda: sess.graph.get_tensor_by_name("y:0"),
        "none": lambda: sess.run(None), "types": lambda: tf.constant([1]) + tf.constant([1.0]), "assert": lambda: sess.run(checked, {x: [-1, 1]}),
        "twice": shared, "reuse": reused, "truth": lambda: bool(x), "no default": lambda: v.eval(), "other": lambda: other.get_operation_by_name("x"),
        "file": lambda: tf.gfile.GFile("/no/such/file").read(), "no gradient": lambda: tf.train.AdamOptimizer().minimize(tf.constant(1.0)),
    }  # fmt: skip
    result: Results = {key: kind(function) for key, function in found.items()}
    sess.close()
    result["closed"] = kind(lambda: sess.run(x, {x: [1, 2]}))
    return result


def names(tf: Any, folder: Path) -> Results:
    """Default names, scopes and collections."""
    with tf.name_scope("a"):
        first = tf.constant(1.0)
        with tf.name_scope("b") as scope:
            second = tf.add(first, 2.0)
    with tf.name_scope("a"):
        third = tf.Variable(1.0, name="v")
    with tf.variable_scope("s"):
        v = tf.get_variable("v", [2])
        op = v * 2.0
        with tf.variable_scope("inner", initializer=tf.ones_initializer()):
            inner = tf.get_variable("v", [2])
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
        again = tf.get_variable("v", [2])
        new = tf.get_variable("fresh", [1], regularizer=lambda w: 0.5 * tf.nn.l2_loss(w))
        op2 = v * 2.0
    d1, d2 = (tf.layers.dense(tf.ones([1, 3]), 2) for _ in range(2))
    x = tf.placeholder(tf.float32)
    more = [first, second, third, op, op2, d1, d2, x, tf.placeholder(tf.int32), -x, x + 1, 1 - x, x / 2, x < 1, abs(x), tf.reduce_mean(x),
            tf.nn.relu(x), tf.nn.softmax(tf.reshape(x, [1, -1])), tf.zeros([2]), tf.ones([2]), tf.cast(x, tf.int32), tf.random_normal([1])]  # fmt: skip
    return {
        "names": [t.name for t in more], "scope": scope, "variables": [v.name for v in tf.global_variables()],
        "trainable": [v.op.name for v in tf.trainable_variables(scope="s")], "shared": str(again is v), "inner": inner.name, "new": new.name,
        "losses": [t.name for t in tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)],
        "types": [repr(t.dtype.base_dtype) for t in more], "ops": [op.type for op in second.graph.get_operations()[:6]],
    }  # fmt: skip
