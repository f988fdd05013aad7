"""Programs for TensorFlow 1, written against a module ``tf``: the same text runs with kigraph.compat.v1 and with TensorFlow.

Each gives a dict of what it computed: numbers, arrays, texts and lists of texts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.interop.tf1_graphs import errors, frozen, names

Results = dict[str, Any]
Program = Callable[[Any, Path], Results]


def hello(tf: Any, folder: Path) -> Results:
    c = tf.constant("Hello World")
    with tf.Session() as sess:
        return {"value": sess.run(c), "name": c.name, "text": str(c)}


def formula(tf: Any, folder: Path) -> Results:
    a, b, c = (tf.placeholder(tf.float32, name=n) for n in "abc")
    u = tf.multiply(b, c, name="u")
    v = tf.add(a, u, name="v")
    j = tf.multiply(v, 3.0, name="J")
    with tf.Session() as sess:
        feed = {a: 5, b: 3, c: 2}
        substituted = sess.run(j, {a: 5, u: 10})
        by_name = sess.run("J:0", {"v:0": 1})
        gradient = sess.run(tf.gradients(j, [a, b, c]), feed)
        return {"all": sess.run([u, v, j], feed), "substituted": substituted, "by_name": by_name, "gradient": gradient}


def matrix(tf: Any, folder: Path) -> Results:
    m = tf.placeholder(tf.float32, shape=(2, 2))
    x = tf.constant([[10.0], [100.0]])
    y = tf.matmul(m, x)
    z = m @ x + 1
    with tf.Session() as sess:
        return {
            "y": sess.run(y, {m: [[1, 2], [3, 4]]}),
            "z": sess.run(z, {m: np.eye(2)}),
            "names": [y.name, z.name, m.name],
        }


def line(tf: Any, folder: Path) -> Results:
    """Y = 2X"""
    w = tf.Variable([0.3], dtype=tf.float32)
    b = tf.Variable([-0.3], dtype=tf.float32)
    x, y = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    model = w * x + b
    loss = tf.reduce_sum(tf.square(model - y))
    train = tf.train.GradientDescentOptimizer(0.01).minimize(loss)
    sess = tf.Session()
    sess.run(tf.global_variables_initializer())
    data = {x: [1, 2, 3, 4], y: [2, 4, 6, 8]}
    first = sess.run(loss, data)
    for _ in range(200):
        sess.run(train, data)
    result = {"first": first, "end": sess.run([w, b, loss], data), "eight": sess.run(model, {x: 8})}
    sess.close()
    return result


def curve(tf: Any, folder: Path) -> Results:
    """Y = 2X^2 by a hidden layer."""
    x = tf.placeholder(tf.float32, [None, 1])
    y = tf.placeholder(tf.float32, [None, 1])
    w1 = tf.Variable(tf.random_normal([1, 10], seed=1))
    b1 = tf.Variable(tf.zeros([1, 10]) + 0.1)
    hidden = tf.nn.relu(tf.matmul(x, w1) + b1)
    w2 = tf.Variable(tf.random_normal([10, 1], seed=2))
    b2 = tf.Variable(tf.zeros([1, 1]) + 0.1)
    prediction = tf.matmul(hidden, w2) + b2
    loss = tf.reduce_mean(tf.reduce_sum(tf.square(y - prediction), reduction_indices=[1]))
    step = tf.train.AdamOptimizer(0.05).minimize(loss)
    data = np.linspace(-1, 1, 40)[:, np.newaxis]
    losses = []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(60):
            _, value = sess.run([step, loss], feed_dict={x: data, y: 2 * data**2})
            losses.append(value)
        return {"losses": losses[::10], "prediction": sess.run(prediction, {x: [[0.5], [-1.0]]})}


def logistic(tf: Any, folder: Path) -> Results:
    """Apples or oranges: two features, a sigmoid."""
    random = np.random.RandomState(4)
    data = np.concatenate([random.normal([1, 2], 0.6, (30, 2)), random.normal([2.5, 0.5], 0.6, (30, 2))]).astype(
        np.float32
    )
    labels = np.repeat([[1.0], [0.0]], 30, axis=0)
    x = tf.placeholder("float", [None, 2], name="features")
    t = tf.placeholder("float", [None, 1], name="is_apple")
    with tf.variable_scope("fruit"):
        w = tf.get_variable("w", shape=[2, 1], initializer=tf.truncated_normal_initializer(stddev=0.1, seed=5))
        b = tf.get_variable("b", shape=[1], initializer=tf.constant_initializer(0.0))
    logits = tf.matmul(x, w) + b
    cost = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=t, logits=logits)) + 0.01 * tf.nn.l2_loss(w)
    right = tf.equal(tf.cast(tf.nn.sigmoid(logits) > 0.5, tf.float32), t)
    accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
    rate = tf.placeholder_with_default(0.5, [])
    step = tf.train.MomentumOptimizer(rate, 0.9).minimize(cost)
    with tf.Session():
        tf.global_variables_initializer().run()
        for _ in range(30):
            step.run(feed_dict={x: data, t: labels})
        names = [v.name for v in tf.trainable_variables()]
        return {"w": w.eval(), "b": b.eval(), "accuracy": accuracy.eval({x: data, t: labels}), "cost": cost.eval({x: data, t: labels}),
                "names": names, "shape": logits.get_shape().as_list(), "width": x.shape[1].value}  # fmt: skip


def digits_cnn(tf: Any, folder: Path) -> Results:
    """A convolutional network on scikit-learn's digits with tf.layers; the first steps of its training."""
    with np.load(folder / "digits.npz") as found:
        images, labels = found["images"][:256].astype(np.float32) / 16, found["target"][:256]
    x = tf.placeholder(tf.float32, [None, 8, 8])
    y = tf.placeholder(tf.int64, [None])
    training = tf.placeholder(tf.bool, [])
    init = tf.glorot_uniform_initializer
    h = tf.reshape(x, [-1, 8, 8, 1])
    h = tf.layers.conv2d(h, 8, 3, padding="same", activation=tf.nn.relu, kernel_initializer=init(seed=1))
    h = tf.layers.batch_normalization(h, training=training)
    h = tf.layers.max_pooling2d(h, 2, 2)
    h = tf.layers.conv2d(h, 16, [3, 3], padding="same", activation=tf.nn.relu, kernel_initializer=init(seed=2))
    h = tf.layers.flatten(tf.layers.average_pooling2d(h, 2, 2))
    logits = tf.layers.dense(h, 10, kernel_initializer=init(seed=3))
    loss = tf.losses.sparse_softmax_cross_entropy(labels=y, logits=logits)
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.AdamOptimizer(0.01).minimize(loss, global_step=step)
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), y), tf.float32))
    losses = []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for i in range(16):
            part = slice(16 * i, 16 * i + 16)
            losses.append(sess.run([train, loss], {x: images[part], y: labels[part], training: True})[1])
        values = sess.run([loss, accuracy, step], {x: images[:64], y: labels[:64], training: False})
        moving = sess.run([v for v in tf.global_variables() if "moving" in v.name])
        return {
            "losses": losses,
            "values": values,
            "moving": moving,
            "names": sorted(v.name for v in tf.global_variables()),
        }


def mlp_saver(tf: Any, folder: Path) -> Results:
    """A multilayer perceptron whose variables are saved, restored in a second graph, and read by another session."""
    random = np.random.RandomState(7)
    data, labels = random.rand(64, 20).astype(np.float32), np.eye(4, dtype=np.float32)[random.randint(0, 4, 64)]

    def build() -> tuple[Any, ...]:
        x = tf.placeholder(tf.float32, [None, 20], name="x")
        y_ = tf.placeholder(tf.float32, [None, 4], name="y_")
        keep = tf.placeholder(tf.float32, name="keep")
        with tf.name_scope("hidden"):
            w1 = tf.Variable(tf.truncated_normal([20, 16], stddev=0.1, seed=1), name="weights")
            b1 = tf.Variable(tf.constant(0.1, shape=[16]), name="biases")
            h = tf.nn.dropout(tf.nn.tanh(tf.matmul(x, w1) + b1), keep_prob=keep, seed=3)
        with tf.name_scope("out"):
            w2 = tf.Variable(tf.truncated_normal([16, 4], stddev=0.1, seed=2), name="weights")
            b2 = tf.Variable(tf.zeros([4]), name="biases")
            y = tf.nn.softmax(tf.matmul(h, w2) + b2, name="y")
        entropy = tf.reduce_mean(-tf.reduce_sum(y_ * tf.log(tf.clip_by_value(y, 1e-10, 1.0)), reduction_indices=[1]))
        return x, y_, keep, y, entropy

    x, y_, keep, y, entropy = build()
    train = tf.train.RMSPropOptimizer(0.01).minimize(entropy)
    saver = tf.train.Saver(max_to_keep=2)
    names = [v.name for v in tf.global_variables()]
    with tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as sess:
        sess.run(tf.global_variables_initializer())
        paths = []
        for i in range(6):
            sess.run(train, feed_dict={x: data, y_: labels, keep: 0.8})
            if i % 2:
                paths.append(saver.save(sess, str(folder / "model.ckpt"), global_step=i))
        trained = sess.run([y, entropy], {x: data[:3], y_: labels[:3], keep: 1.0})
    latest = tf.train.latest_checkpoint(str(folder))
    with tf.Graph().as_default():
        x, y_, keep, y, entropy = build()
        with tf.Session() as sess:
            tf.train.Saver().restore(sess, latest)
            again = sess.run([y, entropy], {x: data[:3], y_: labels[:3], keep: 1.0})
    kept = [tf.train.checkpoint_exists(p) for p in paths]
    return {"trained": trained, "again": again, "names": names, "latest": Path(latest).name, "kept": kept}


def flow(tf: Any, folder: Path) -> Results:
    """Branches, loops, control dependencies and the order of assignments."""
    counter = tf.Variable(0, name="counter", trainable=False)
    up = tf.assign_add(counter, 1)
    with tf.control_dependencies([up]):
        seen = counter.read_value() * 10
        hidden = counter * 10
    p = tf.placeholder(tf.bool, [])
    w = tf.Variable(3.0)
    branch = tf.cond(p, lambda: tf.square(w), lambda: w * 5.0)
    effect = tf.cond(p, lambda: tf.assign(w, 7.0), lambda: tf.identity(w))
    slope = tf.gradients(branch, [w])[0]
    i, total = tf.while_loop(
        lambda i, s: i < 5, lambda i, s: [i + 1, s + tf.cast(i, tf.float32) * w], [tf.constant(0), 0.0]
    )
    kind = tf.case(
        [(tf.less(i, 3), lambda: tf.constant(1)), (tf.less(i, 9), lambda: tf.constant(2))],
        default=lambda: tf.constant(3),
    )
    both = tf.tuple([w + 1.0, w + 2.0])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        result: Results = {
            "seen": sess.run(seen), "hidden": sess.run(hidden), "fetched": sess.run([counter, up]),
            "branch": [sess.run([branch, slope], {p: v}) for v in (True, False)], "loop": sess.run([i, total]), "kind": sess.run(kind),
            "both": sess.run(both), "effect": [sess.run(effect, {p: v}) for v in (False, True, False)],
        }  # fmt: skip
        result["end"] = [w.eval(), counter.eval()]
        return result


def arrays(tf: Any, folder: Path) -> Results:
    """Shapes, slices, joins."""
    x = tf.constant(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    n = tf.placeholder(tf.float32, [None, 4])
    made = {
        "row": x[0, 1], "steps": x[:, ::2, 1:-1], "new": x[..., tf.newaxis, 0], "last": n[-1], "part": tf.slice(x, [0, 1, 0], [2, 2, -1]),
        "concat": tf.concat([x, x], axis=1), "stack": tf.stack([x[0], x[1]], axis=2), "split": tf.split(x, 2, axis=2)[1],
        "sizes": tf.split(x, [1, 3], axis=2)[1], "unstack": tf.unstack(x, axis=1)[2], "pad": tf.pad(x, [[0, 0], [1, 0], [0, 2]]),
        "tile": tf.tile(n, [2, 1]), "hot": tf.one_hot([0, 2], 3, on_value=5.0), "where": tf.where(x > 5.0, x, -x),
        "found": tf.where(tf.constant([True, False, True])), "gather": tf.gather(x, [1, 0], axis=1), "nd": tf.gather_nd(x, [[0, 1], [1, 2]]),
        "mask": tf.boolean_mask(n, [True, False]), "t": tf.transpose(x, [2, 0, 1]), "fill": tf.fill([2, 2], 7), "shape": tf.shape(n),
        "range": tf.range(1, 10, 3), "lin": tf.linspace(0.0, 1.0, 5), "dims": tf.expand_dims(n, 1), "squeeze": tf.squeeze(tf.expand_dims(n, 0)),
        "top": tf.nn.top_k(n, 2).values, "any": tf.reduce_any(x > 22.0, axis=[0, 2]), "max": tf.reduce_max(n, 1, keepdims=True),
        "arg": tf.argmax(x, axis=2), "cumsum": tf.cumsum(n, 1), "eq": tf.equal(x, 3.0), "pow": n**2, "mod": tf.range(6) % 4,
        "floor": tf.constant([7, -7]) // 2, "true": tf.constant([7, -7]) / 2, "norm": tf.norm(n), "l2": tf.nn.l2_normalize(n, 1),
        "clip": tf.clip_by_norm(n, 1.0), "lse": tf.reduce_logsumexp(n, axis=1), "count": tf.count_nonzero(n), "dot": tf.tensordot(x, n, [[2], [1]]),
        "in": tf.nn.in_top_k(n, [3, 0], 2), "mesh": tf.meshgrid([1, 2], [3, 4, 5])[0], "seq": tf.sequence_mask([1, 3], 4), "eye": tf.eye(2),
        "rev": tf.reverse(x, [1]), "einsum": tf.einsum("ijk,lk->il", x, n), "ones": tf.ones_like(n), "sum": tf.add_n([n, n, n]),
    }  # fmt: skip
    with tf.Session() as sess:
        values = sess.run(made, {n: [[0.5, 3.0, -2.0, 8.0], [1.0, 0.0, 4.0, 2.0]]})
    # Of functions that are made of several operations, the names inside are not compared.
    named = [key for key in made if key not in ("lin", "norm", "mesh", "dot")]
    return {**values, "names": [made[key].name for key in named], "static": [str(t.shape) for t in made.values()]}


def networks(tf: Any, folder: Path) -> Results:
    """The ops of networks."""
    random = np.random.RandomState(2)
    x = tf.constant(random.randn(2, 7, 6, 4).astype(np.float32))
    k = tf.constant(random.randn(3, 3, 4, 5).astype(np.float32))
    logits = tf.constant(random.randn(6, 5).astype(np.float32))
    ids = tf.constant([0, 4, 2, 1, 3, 3])
    mean, variance = tf.nn.moments(x, [0, 1, 2])
    made = {
        "conv": tf.nn.conv2d(x, k, strides=[1, 2, 2, 1], padding="SAME"), "valid": tf.nn.conv2d(x, k, [1, 1, 1, 1], "VALID"),
        "deep": tf.nn.depthwise_conv2d(x, k[:, :, :, :2], [1, 1, 1, 1], "SAME"), "max": tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"),
        "avg": tf.nn.avg_pool(x, [1, 3, 3, 1], [1, 1, 1, 1], "SAME"), "up": tf.nn.conv2d_transpose(x, k[:, :, :, :4], [2, 14, 12, 4], [1, 2, 2, 1]),
        "bias": tf.nn.bias_add(x, [1.0, 2.0, 3.0, 4.0]), "mean": mean, "variance": variance,
        "bn": tf.nn.batch_normalization(x, mean, variance, 0.5, 2.0, 1e-3), "fused": tf.nn.fused_batch_norm(x, [1.0] * 4, [0.5] * 4)[0],
        "lrn": tf.nn.lrn(x, 2, 1.0, 0.1, 0.75), "softmax": tf.nn.softmax(logits), "log": tf.nn.log_softmax(logits), "axis": tf.nn.softmax(x, axis=1),
        "acts": [f(logits) for f in (tf.nn.relu, tf.nn.relu6, tf.nn.elu, tf.nn.selu, tf.nn.leaky_relu, tf.nn.softplus, tf.nn.softsign, tf.tanh)],
        "xent": tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.one_hot(ids, 5), logits=logits),
        "sparse": tf.nn.sparse_softmax_cross_entropy_with_logits(labels=ids, logits=logits),
        "sigmoid": tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.one_hot(ids, 5), logits=logits),
        "weighted": tf.nn.weighted_cross_entropy_with_logits(tf.one_hot(ids, 5), logits, 2.0), "drop": tf.nn.dropout(x, rate=0.4, seed=9),
        "embed": tf.nn.embedding_lookup(logits, ids), "normal": tf.random_normal([3], seed=4), "cut": tf.truncated_normal([4], 1.0, 0.5, seed=5),
        "uniform": tf.random_uniform([3], -1.0, 1.0, seed=6), "whole": tf.random_uniform([5], 0, 9, tf.int32, seed=7),
        "mse": tf.losses.mean_squared_error(tf.one_hot(ids, 5), logits), "huber": tf.losses.huber_loss(tf.one_hot(ids, 5), logits),
        "smooth": tf.losses.softmax_cross_entropy(tf.one_hot(ids, 5), logits, label_smoothing=0.1), "total": tf.losses.get_total_loss(),
    }  # fmt: skip
    with tf.Session() as sess:
        return dict(sess.run(made))


def write_digits(folder: Path) -> None:
    """The data of digits_cnn. Raises ImportError without scikit-learn."""
    from sklearn.datasets import load_digits

    found = load_digits()
    np.savez(folder / "digits.npz", images=found.images, target=found.target)


PROGRAMS: dict[str, Program] = {
    f.__name__: f
    for f in (
        hello,
        formula,
        matrix,
        line,
        curve,
        logistic,
        digits_cnn,
        mlp_saver,
        flow,
        arrays,
        networks,
        frozen,
        errors,
        names,
    )
}
