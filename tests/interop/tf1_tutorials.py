"""Programs as tutorials for TensorFlow 1 have them: training, checkpoints, collections, scopes. As in tf1_programs.py the
same text runs with kigraph.compat.v1 and with TensorFlow; each gives a dict of what it computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TUTORIALS"]

Results = dict[str, Any]


def _blobs(count: int = 60, width: int = 4, classes: int = 3, seed: int = 11) -> tuple[Any, Any]:
    """Points around one centre for each class: (count, width) float32 and (count,) int64."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, classes, count)
    centres = random.randn(classes, width) * 2
    return (centres[labels] + random.randn(count, width) * 0.4).astype(np.float32), labels.astype(np.int64)


def _variables(tf: Any) -> list[str]:
    return [v.name for v in tf.global_variables()]


def resume(tf: Any, folder: Path) -> Results:
    """A counted training that is saved, restored in a new graph, and goes on where it was."""
    data, labels = _blobs()

    def build() -> tuple[Any, ...]:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        y = tf.placeholder(tf.int64, [None], name="y")
        w = tf.get_variable("w", [4, 3], initializer=tf.zeros_initializer())
        b = tf.get_variable("b", [3], initializer=tf.zeros_initializer())
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=tf.matmul(x, w) + b))
        global_step = tf.Variable(0, trainable=False, name="global_step")
        train = tf.train.AdamOptimizer(0.05).minimize(loss, global_step=global_step)
        return x, y, w, loss, global_step, train

    found: Results = {}
    for part in range(2):
        tf.reset_default_graph()
        x, y, w, loss, global_step, train = build()
        saver = tf.train.Saver()
        with tf.Session() as sess:
            state = tf.train.get_checkpoint_state(str(folder))
            if state and state.model_checkpoint_path:
                saver.restore(sess, state.model_checkpoint_path)
            else:
                sess.run(tf.global_variables_initializer())
            found[f"begins{part}"] = tf.train.global_step(sess, global_step)
            while sess.run(global_step) < 10 * (part + 1):
                sess.run(train, {x: data, y: labels})
            path = saver.save(sess, str(folder / "model"), global_step=global_step)
            found[f"end{part}"] = sess.run([w, loss, global_step], {x: data, y: labels})
            found[f"path{part}"] = Path(path).name
    return {**found, "variables": _variables(tf)}


def adam_names(tf: Any, folder: Path) -> Results:
    """Which variables optimizers add, in which order, in scopes and twice."""
    x = tf.constant([[1.0, 2.0]])
    w = tf.Variable([[1.0], [2.0]], name="w")
    with tf.variable_scope("net"):
        v = tf.get_variable("v", [1, 1], initializer=tf.ones_initializer())
    loss = tf.reduce_sum(tf.square(tf.matmul(tf.matmul(x, w), v)))
    with tf.name_scope("train"):
        tf.train.AdamOptimizer(0.1).minimize(loss)
    with tf.variable_scope("second"):
        again = tf.train.AdamOptimizer(0.1)
        step = again.minimize(loss, var_list=[v])
    tf.train.MomentumOptimizer(0.1, 0.9, name="M").minimize(loss)
    tf.train.RMSPropOptimizer(0.1).minimize(loss)
    tf.train.AdagradOptimizer(0.1).minimize(loss)
    slots = [again.get_slot(v, name).name for name in again.get_slot_names()]
    return {"all": _variables(tf), "slots": slots, "own": [u.name for u in again.variables()], "step": step.name}


def gan(tf: Any, folder: Path) -> Results:
    """Two networks, each trained by an optimizer of its own over its own variables."""
    random = np.random.RandomState(3)
    init = tf.random_normal_initializer

    def generator(z: Any) -> Any:
        with tf.variable_scope("generator"):
            h = tf.layers.dense(z, 8, tf.nn.relu, kernel_initializer=init(stddev=0.5, seed=1))
            return tf.layers.dense(h, 2, kernel_initializer=init(stddev=0.5, seed=2))

    def discriminator(x: Any, reuse: bool = False) -> Any:
        with tf.variable_scope("discriminator", reuse=reuse):
            h = tf.layers.dense(x, 8, tf.nn.leaky_relu, kernel_initializer=init(stddev=0.5, seed=3), name="hidden")
            return tf.layers.dense(h, 1, kernel_initializer=init(stddev=0.5, seed=4), name="out")

    z = tf.placeholder(tf.float32, [None, 3], name="z")
    x = tf.placeholder(tf.float32, [None, 2], name="real")
    real, fake = discriminator(x), discriminator(generator(z), reuse=True)
    cross = tf.nn.sigmoid_cross_entropy_with_logits
    d_loss = tf.reduce_mean(
        cross(logits=real, labels=tf.ones_like(real)) + cross(logits=fake, labels=tf.zeros_like(fake))
    )
    g_loss = tf.reduce_mean(cross(logits=fake, labels=tf.ones_like(fake)))
    d_vars = [v for v in tf.trainable_variables() if v.name.startswith("discriminator")]
    g_vars = tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope="generator")
    d_step = tf.train.AdamOptimizer(0.01, beta1=0.5).minimize(d_loss, var_list=d_vars)
    g_step = tf.train.AdamOptimizer(0.01, beta1=0.5).minimize(g_loss, var_list=g_vars)
    losses = []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(12):
            feed = {x: random.randn(16, 2) + 2, z: random.uniform(-1, 1, (16, 3))}
            _, d = sess.run([d_step, d_loss], feed)
            _, g = sess.run([g_step, g_loss], {z: feed[z]})
            losses += [d, g]
    return {"losses": losses, "variables": _variables(tf), "names": [real.name, fake.name]}


def autoencoder(tf: Any, folder: Path) -> Results:
    """Weights and biases in dicts, RMSProp, mean squared error."""
    data = np.random.RandomState(5).rand(32, 12).astype(np.float32)
    x = tf.placeholder("float", [None, 12])
    weights = {
        "encoder_h1": tf.Variable(tf.random_normal([12, 6], seed=1)),
        "encoder_h2": tf.Variable(tf.random_normal([6, 3], seed=2)),
        "decoder_h1": tf.Variable(tf.random_normal([3, 6], seed=3)),
        "decoder_h2": tf.Variable(tf.random_normal([6, 12], seed=4)),
    }
    biases = {name: tf.Variable(tf.zeros([size])) for name, size in (("e1", 6), ("e2", 3), ("d1", 6), ("d2", 12))}
    h = tf.nn.sigmoid(tf.add(tf.matmul(x, weights["encoder_h1"]), biases["e1"]))
    code = tf.nn.sigmoid(tf.add(tf.matmul(h, weights["encoder_h2"]), biases["e2"]))
    h = tf.nn.sigmoid(tf.add(tf.matmul(code, weights["decoder_h1"]), biases["d1"]))
    y = tf.nn.sigmoid(tf.add(tf.matmul(h, weights["decoder_h2"]), biases["d2"]))
    loss = tf.reduce_mean(tf.pow(x - y, 2))
    step = tf.train.RMSPropOptimizer(0.01).minimize(loss)
    sess = tf.InteractiveSession()
    tf.global_variables_initializer().run()
    losses = [sess.run([step, loss], {x: data})[1] for _ in range(20)]
    found = {
        "losses": losses,
        "code": code.eval(feed_dict={x: data[:2]}),
        "names": _variables(tf),
        "out": [code.name, y.name, loss.name],
    }
    sess.close()
    return found


def averages(tf: Any, folder: Path) -> Results:
    """Moving averages kept beside training, and restored in place of the variables."""
    w = tf.Variable([1.0, 2.0], name="w")
    b = tf.Variable(0.5, name="b")
    loss = tf.reduce_sum(tf.square(w * 3.0 + b - [1.0, -1.0]))
    global_step = tf.Variable(0, trainable=False, name="global_step")
    train = tf.train.GradientDescentOptimizer(0.02).minimize(loss, global_step)
    ema = tf.train.ExponentialMovingAverage(0.9, global_step)
    with tf.control_dependencies([train]):
        step = ema.apply([w, b])
    saver = tf.train.Saver()
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(7):
            sess.run(step)
        values = sess.run([w, b, ema.average(w), ema.average(b)])
        path = saver.save(sess, str(folder / "m"))
    restored = tf.train.Saver(ema.variables_to_restore())
    with tf.Session() as sess:
        restored.restore(sess, path)
        after = sess.run([w, b, global_step])
    return {"values": values, "after": after, "names": _variables(tf), "map": sorted(ema.variables_to_restore())}


def decays(tf: Any, folder: Path) -> Results:
    """Learning rates that follow the step."""
    global_step = tf.Variable(0, trainable=False)
    rates = {
        "exponential": tf.train.exponential_decay(0.1, global_step, 4, 0.5),
        "stairs": tf.train.exponential_decay(0.1, global_step, 4, 0.5, staircase=True),
        "natural": tf.train.natural_exp_decay(0.1, global_step, 4, 0.5),
        "inverse": tf.train.inverse_time_decay(0.1, global_step, 4, 0.5),
        "polynomial": tf.train.polynomial_decay(0.1, global_step, 5, 0.01, power=2.0),
        "cycle": tf.train.polynomial_decay(0.1, global_step, 3, 0.01, cycle=True),
        "cosine": tf.train.cosine_decay(0.1, global_step, 6),
        "pieces": tf.train.piecewise_constant(global_step, [2, 5], [0.3, 0.2, 0.1]),
    }
    w = tf.Variable(4.0)
    step = tf.train.GradientDescentOptimizer(rates["stairs"]).minimize(tf.square(w), global_step=global_step)
    rows = []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(8):
            rows.append(sess.run(rates))
            sess.run(step)
        return {"rows": rows, "w": sess.run(w), "names": [r.name for r in rates.values()]}


def normalised(tf: Any, folder: Path) -> Results:
    """Batch normalisation whose moving averages are updated before the step, dense and images."""
    random = np.random.RandomState(8)
    x = tf.placeholder(tf.float32, [None, 6, 6, 2], "x")
    y = tf.placeholder(tf.float32, [None, 1], "y")
    training = tf.placeholder_with_default(False, [], "training")
    h = tf.layers.conv2d(x, 4, 3, strides=2, padding="same", use_bias=False, kernel_initializer=tf.truncated_normal_initializer(stddev=0.1, seed=1), name="c1")  # fmt: skip
    h = tf.nn.relu(tf.layers.batch_normalization(h, training=training, momentum=0.9, name="n1"))
    h = tf.reshape(h, [-1, 36])
    h = tf.layers.dense(h, 5, kernel_initializer=tf.glorot_normal_initializer(seed=2))
    h = tf.layers.batch_normalization(h, training=training, momentum=0.9)
    out = tf.layers.dense(tf.tanh(h), 1, kernel_initializer=tf.glorot_normal_initializer(seed=3))
    loss = tf.losses.mean_squared_error(y, out)
    update_ops = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies(update_ops):
        step = tf.train.MomentumOptimizer(0.05, 0.9, use_nesterov=True).minimize(loss)
    data, target = random.randn(24, 6, 6, 2), random.randn(24, 1)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        losses = [sess.run([loss, step], {x: data, y: target, training: True})[0] for _ in range(6)]
        moving = [v for v in tf.global_variables() if "moving_" in v.name]
        values = sess.run(moving)
        test = sess.run(out, {x: data[:3]})
    return {"losses": losses, "moving": values, "test": test, "names": _variables(tf), "updates": len(update_ops)}


def shared(tf: Any, folder: Path) -> Results:
    """Scopes that are entered again, reuse_variables, AUTO_REUSE, initializers and regularizers of scopes."""

    def layer(x: Any, width: int) -> Any:
        w = tf.get_variable("weights", [x.get_shape()[1], width], initializer=tf.constant_initializer(0.5))
        b = tf.get_variable("biases", [width], initializer=tf.constant_initializer(0.1))
        return tf.nn.bias_add(tf.matmul(x, w), b)

    x = tf.constant([[1.0, 2.0, 3.0]])
    with tf.variable_scope("model", initializer=tf.constant_initializer(0.25)) as scope:
        with tf.variable_scope("one"):
            first = layer(x, 2)
        scope.reuse_variables()
        with tf.variable_scope("one"):
            again = layer(x, 2)
    with tf.variable_scope(scope, reuse=True):
        with tf.variable_scope("one"):
            third = layer(x, 2)
        inside = tf.identity(third, name="inside")
    outputs = []
    for _ in range(2):
        with tf.variable_scope("auto", reuse=tf.AUTO_REUSE, regularizer=lambda v: tf.nn.l2_loss(v) * 0.1):
            outputs.append(layer(x, 2))
    with tf.name_scope("names"):
        v = tf.get_variable("plain", initializer=tf.constant([1, 2]))
        u = tf.Variable(3.0, name="scoped")
        with tf.variable_scope(None, default_name="block"):
            a = tf.get_variable("a", [1], initializer=tf.zeros_initializer)
        with tf.variable_scope(None, default_name="block"):
            b = tf.get_variable("a", [1], initializer=tf.zeros_initializer)
    try:
        with tf.variable_scope("model"):
            tf.get_variable("one/weights", [3, 2])
        refused = "no"
    except ValueError as error:
        refused = str(error).split(",")[0]
    losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        values = sess.run([first, again, third, *outputs, losses])
    names = [
        first.name,
        again.name,
        third.name,
        inside.name,
        *[o.name for o in outputs],
        v.name,
        u.name,
        a.name,
        b.name,
    ]
    return {"values": values, "names": names, "variables": _variables(tf), "losses": [t.name for t in losses], "refused": refused,
            "scope": [scope.name, scope.original_name_scope]}  # fmt: skip


def counted(tf: Any, folder: Path) -> Results:
    """Metrics that count over batches in local variables."""
    labels, guesses = tf.placeholder(tf.int64, [None]), tf.placeholder(tf.int64, [None])
    accuracy, update = tf.metrics.accuracy(labels, guesses)
    mean, update_mean = tf.metrics.mean(tf.cast(guesses, tf.float32), name="average")
    local = [v.name for v in tf.local_variables()]
    rows = []
    with tf.Session() as sess:
        sess.run(tf.local_variables_initializer())
        for batch in ([[0, 1, 1], [0, 1, 0]], [[1, 1], [1, 1]], [[0], [1]]):
            feed = {labels: batch[0], guesses: batch[1]}
            rows.append([sess.run([update, update_mean], feed), sess.run([accuracy, mean])])
        sess.run(tf.variables_initializer(tf.get_collection(tf.GraphKeys.LOCAL_VARIABLES)))
        empty = sess.run(accuracy)
    return {
        "rows": rows,
        "local": local,
        "empty": empty,
        "names": [accuracy.name, update.name, mean.name, update_mean.name],
    }


def judged(tf: Any, folder: Path) -> Results:
    """More metrics: precision, recall, errors, per-class accuracy."""
    random = np.random.RandomState(2)
    labels, guesses = tf.placeholder(tf.int64, [None], "l"), tf.placeholder(tf.int64, [None], "g")
    numbers = tf.placeholder(tf.float32, [None], "n")
    m = tf.metrics
    pairs = {
        "precision": m.precision(labels, guesses), "recall": m.recall(labels, guesses),
        "tp": m.true_positives(labels, guesses), "fp": m.false_positives(labels, guesses), "fn": m.false_negatives(labels, guesses),
        "tn": m.true_negatives(labels, guesses),
        "mse": m.mean_squared_error(numbers, numbers * 1.5), "rmse": m.root_mean_squared_error(numbers, numbers + 1.0),
        "mae": m.mean_absolute_error(numbers, numbers * 0.5),
    }  # fmt: skip
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        rows = []
        for size in (5, 1, 8):
            feed = {
                labels: random.randint(0, 2, size),
                guesses: random.randint(0, 2, size),
                numbers: random.randn(size),
            }
            rows.append(sess.run({k: p[1] for k, p in pairs.items()}, feed))
        end = sess.run({k: p[0] for k, p in pairs.items()})
    return {
        "rows": rows,
        "end": end,
        "local": [v.name for v in tf.local_variables()],
        "names": [p[0].name for p in pairs.values()],
    }


def clipped(tf: Any, folder: Path) -> Results:
    """compute_gradients, clipped by value and by norm, apply_gradients; gradients by hand with assign."""
    data, labels = _blobs(classes=2)
    x, t = tf.constant(data), tf.constant(labels.astype(np.float32)[:, None])
    w = tf.Variable(tf.ones([4, 1]), name="w")
    b = tf.Variable(tf.zeros([1]), name="b")
    y = tf.sigmoid(x @ w + b, name="y")
    loss = -tf.reduce_mean(t * tf.log(y + 1e-7) + (1 - t) * tf.log(1 - y + 1e-7), name="loss")
    optimizer = tf.train.GradientDescentOptimizer(0.5)
    pairs = optimizer.compute_gradients(loss, [w, b])
    step = optimizer.apply_gradients([(tf.clip_by_value(g, -0.05, 0.05), v) for g, v in pairs])
    grads, norm = tf.clip_by_global_norm(tf.gradients(loss, [w, b]), 0.1)
    other = tf.train.AdagradOptimizer(0.5).apply_gradients(zip(grads, [w, b], strict=True), name="other")
    hand = [v.assign(v - 0.1 * g) for v, g in zip([w, b], tf.gradients(loss, [w, b]), strict=True)]
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        found: Results = {"norm": sess.run(norm), "names": [step.name, other.name, y.name, loss.name]}
        for key, fetch in (("value", step), ("global", other), ("hand", hand)):
            for _ in range(3):
                sess.run(fetch)
            found[key] = sess.run([w, b, loss])
    return found


TUTORIALS: dict[str, Any] = {
    f.__name__: f
    for f in (resume, adam_names, gan, autoencoder, averages, decays, normalised, shared, counted, judged, clipped)
}
