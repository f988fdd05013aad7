"""Programs as tutorials for TensorFlow 1 have them: recurrent networks, words, pictures, data, control flow. See
tf1_tutorials.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["LESSONS"]

Results = dict[str, Any]


def _series(count: int = 8, steps: int = 5, width: int = 3, seed: int = 3) -> Any:
    return np.random.RandomState(seed).randn(count, steps, width).astype(np.float32)


def lstm_static(tf: Any, folder: Path) -> Results:
    """Rows of pictures one by one through a BasicLSTMCell, static_rnn, and a trained output."""
    x = tf.placeholder(tf.float32, [None, 5, 3])
    y = tf.placeholder(tf.float32, [None, 2])
    init = tf.random_uniform_initializer(-0.4, 0.4, seed=1)
    with tf.variable_scope("net", initializer=init):
        cell = tf.nn.rnn_cell.BasicLSTMCell(4, forget_bias=1.0)
        outputs, state = tf.nn.static_rnn(cell, tf.unstack(x, 5, 1), dtype=tf.float32)
        w = tf.get_variable("w", [4, 2])
    logits = tf.matmul(outputs[-1], w)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(logits=logits, labels=y))
    train = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    feed = {x: _series(), y: np.eye(2)[np.arange(8) % 2]}
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        losses = [sess.run([loss, train], feed)[0] for _ in range(5)]
        values = sess.run([outputs[-1], state.c, state.h], feed)
    return {"losses": losses, "values": values, "variables": [v.name for v in tf.global_variables()],
            "shapes": [str(outputs[0].shape), str(state.c.shape), str(cell.state_size), cell.output_size]}  # fmt: skip


def lstm_dynamic(tf: Any, folder: Path) -> Results:
    """Sentences of several lengths through two layers of cells, dynamic_rnn, zero_state."""
    x = tf.placeholder(tf.float32, [4, 5, 3])
    lengths = tf.placeholder(tf.int32, [4])
    init = tf.random_uniform_initializer(-0.4, 0.4, seed=1)
    with tf.variable_scope("model", initializer=init):
        cells = [tf.nn.rnn_cell.BasicLSTMCell(n, state_is_tuple=True) for n in (4, 2)]
        cells = [tf.nn.rnn_cell.DropoutWrapper(c, output_keep_prob=1.0) for c in cells]
        stack = tf.nn.rnn_cell.MultiRNNCell(cells, state_is_tuple=True)
        start = stack.zero_state(4, tf.float32)
        outputs, state = tf.nn.dynamic_rnn(stack, x, sequence_length=lengths, initial_state=start)
    loss = tf.reduce_sum(tf.square(outputs)) + tf.reduce_sum(state[0].h)
    grads = tf.gradients(loss, tf.trainable_variables())
    feed = {x: _series(4), lengths: [5, 2, 0, 3]}
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        values = sess.run([outputs, state], feed)
        slopes = sess.run(grads, feed)
    return {"values": values, "grads": slopes, "variables": [v.name for v in tf.trainable_variables()],
            "shapes": [str(outputs.shape), str(state[1].c.shape)]}  # fmt: skip


def gru_and_others(tf: Any, folder: Path) -> Results:
    """GRUCell, BasicRNNCell, LSTMCell with peepholes and a projection, time first, cells called by hand."""
    x = tf.constant(_series(2, 4))
    init = tf.random_uniform_initializer(-0.5, 0.5, seed=2)
    c = tf.nn.rnn_cell
    made = {}
    with tf.variable_scope("all", initializer=init):
        made["gru"] = tf.nn.dynamic_rnn(c.GRUCell(4), x, dtype=tf.float32, scope="g")
        made["basic"] = tf.nn.dynamic_rnn(c.BasicRNNCell(3, activation=tf.nn.relu), x, dtype=tf.float32, scope="b")
        made["peep"] = tf.nn.dynamic_rnn(
            c.LSTMCell(4, use_peepholes=True, initializer=init, cell_clip=0.5), x, dtype=tf.float32, scope="p"
        )
        made["proj"] = tf.nn.dynamic_rnn(c.LSTMCell(4, num_proj=2, forget_bias=0.5), x, dtype=tf.float32, scope="q")
        first = tf.transpose(x, [1, 0, 2])
        made["time"] = tf.nn.dynamic_rnn(c.GRUCell(4), first, dtype=tf.float32, time_major=True, scope="t")
        cell = c.BasicLSTMCell(3)
        state = cell.zero_state(2, tf.float32)
        outs = []
        with tf.variable_scope("RNN"):
            for step in range(4):
                if step > 0:
                    tf.get_variable_scope().reuse_variables()
                out, state = cell(x[:, step, :], state)
                outs.append(out)
        made["hand"] = (tf.reshape(tf.concat(outs, 1), [-1, 3]), state)
        both, ends = tf.nn.bidirectional_dynamic_rnn(c.GRUCell(2), c.GRUCell(2), x, dtype=tf.float32)
        made["both"] = (tf.concat(both, 2), ends)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        values = sess.run(made)
    return {"values": values, "variables": [v.name for v in tf.global_variables()]}


def words(tf: Any, folder: Path) -> Results:
    """Skip-gram: embeddings, noise-contrastive estimation with given noise, the nearest words."""
    random = np.random.RandomState(5)
    inputs, labels = tf.placeholder(tf.int32, [6]), tf.placeholder(tf.int32, [6, 1])
    embeddings = tf.Variable(tf.random_uniform([20, 4], -1.0, 1.0, seed=1))
    embed = tf.nn.embedding_lookup(embeddings, inputs)
    w = tf.Variable(tf.truncated_normal([20, 4], stddev=0.5, seed=2))
    b = tf.Variable(tf.zeros([20]))
    noise = (
        tf.constant([3, 1, 7, 0], tf.int64),
        tf.constant(random.rand(6, 1), tf.float32),
        tf.constant(random.rand(4), tf.float32),
    )
    more = {
        "weights": w,
        "biases": b,
        "labels": labels,
        "inputs": embed,
        "num_sampled": 4,
        "num_classes": 20,
        "sampled_values": noise,
    }
    loss = tf.reduce_mean(tf.nn.nce_loss(**more))
    softmax = tf.nn.sampled_softmax_loss(**more)
    kept = tf.nn.nce_loss(**more, remove_accidental_hits=True)
    train = tf.train.GradientDescentOptimizer(1.0).minimize(loss)
    norm = tf.sqrt(tf.reduce_sum(tf.square(embeddings), 1, keep_dims=True))
    normalized = embeddings / norm
    similarity = tf.matmul(tf.nn.embedding_lookup(normalized, [1, 5]), normalized, transpose_b=True)
    feed = {inputs: [0, 3, 3, 1, 19, 7], labels: [[1], [7], [0], [3], [2], [7]]}
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        first = sess.run([softmax, kept], feed)
        losses = [sess.run([train, loss], feed)[1] for _ in range(4)]
        return {"first": first, "losses": losses, "similar": similarity.eval(), "end": sess.run([embeddings, w, b])}


def samplers(tf: Any, folder: Path) -> Results:
    """What candidate samplers promise: distinct classes, shapes, types, expected counts that fit the number of tries."""
    labels = tf.constant([[1], [4]], tf.int64)
    found: Results = {}
    with tf.Session() as sess:
        for name in ("log_uniform_candidate_sampler", "uniform_candidate_sampler"):
            picked = getattr(tf.nn, name)(labels, 1, 5, True, 9, seed=4)
            values = sess.run(picked)
            found[name] = [
                len(set(values.sampled_candidates.tolist())),
                values.true_expected_count,
                values.sampled_expected_count,
            ]
            found[name + "/ids"] = values.sampled_candidates
            loose = sess.run(getattr(tf.nn, name)(labels, 1, 6, False, 9, seed=4))
            found[name + "/loose"] = list(loose)
    return found


def seeds(tf: Any, folder: Path) -> Results:
    """The numbers of a graph's seed, and of operations' own, in three runs of two sessions."""
    tf.set_random_seed(42)
    a = tf.random_normal([3])
    b = tf.random_uniform([2], 0, 10, dtype=tf.int32)
    c = tf.Variable(tf.truncated_normal([2, 2], stddev=0.1))
    d = tf.get_variable("d", [3], initializer=tf.random_uniform_initializer(-1, 1))
    e = tf.layers.dense(tf.ones([1, 2]), 2)
    f = tf.random_normal([2], seed=7)
    h = tf.nn.dropout(tf.ones([10]), 0.5)
    rows = []
    for _ in range(2):
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            rows.append([sess.run([a, b, c, d, e, f, h]) for _ in range(3)])
    return {"rows": rows}


def datasets(tf: Any, folder: Path) -> Results:
    """tf.data: slices, batches, repeats, a map, one-shot and initializable iterators, the end of the data."""
    x, y = np.arange(10, dtype=np.float32).reshape(5, 2), np.arange(5)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(2)
    get = tf.data.make_one_shot_iterator(data).get_next()
    mapped = tf.data.Dataset.from_tensor_slices({"a": x, "b": y}).map(lambda d: {"s": d["a"] * 2.0, "t": d["b"] + 1})
    mapped = (
        mapped.filter(lambda d: tf.not_equal(d["t"], 3)).repeat(2).skip(1).batch(3, drop_remainder=True).prefetch(1)
    )
    iterator = tf.data.make_initializable_iterator(mapped)
    nxt = iterator.get_next()
    w = tf.Variable(tf.zeros([2, 1]))
    loss = tf.reduce_mean(tf.square(tf.matmul(get[0], w) - 1.0))
    train = tf.train.GradientDescentOptimizer(0.01).minimize(loss)
    rows, others = [], []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        try:
            while True:
                rows.append(sess.run([get[1], loss, train])[:2])
        except tf.errors.OutOfRangeError:
            rows.append("end")
        for _ in range(2):
            sess.run(iterator.initializer)
            while True:
                try:
                    others.append(sess.run(nxt))
                except tf.errors.OutOfRangeError:
                    break
        end = sess.run(w)
    kinds = [
        str(data.output_types),
        str(data.output_shapes),
        get[0].name,
        get[1].name,
        str(get[0].shape),
        str(get[1].dtype),
    ]
    return {"rows": rows, "others": others, "w": end, "kinds": kinds}


def tables(tf: Any, folder: Path) -> Results:
    """Rows of tables that steps read in turn, one of them twice, and what optimizers do to the others."""
    ids = tf.placeholder(tf.int32, [2])
    t = tf.train
    optimizers = {
        "adadelta": t.AdadeltaOptimizer(0.5), "adagrad": t.AdagradOptimizer(0.3), "adam": t.AdamOptimizer(0.05),
        "rms": t.RMSPropOptimizer(0.02, 0.9, 0.5), "centered": t.RMSPropOptimizer(0.02, centered=True, name="C"),
        "momentum": t.MomentumOptimizer(0.02, 0.9), "nesterov": t.MomentumOptimizer(0.02, 0.9, use_nesterov=True), "sgd": t.GradientDescentOptimizer(0.1),
    }  # fmt: skip
    found, steps = {}, []
    for name, optimizer in optimizers.items():
        table = tf.Variable(np.linspace(-1, 1, 12).reshape(6, 2).astype(np.float32), name=name)
        loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, ids) - 2.0))
        steps.append(optimizer.minimize(loss, var_list=[table]))
        both = tf.Variable(np.ones((6, 2), np.float32), name=name + "_both")
        whole = tf.reduce_sum(tf.square(both)) + tf.reduce_sum(tf.gather(both, ids))
        steps.append(optimizer.minimize(whole, var_list=[both]))
        found[name] = [table, both]
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for i in range(5):
            for step in steps:  # one after the other: two of them share Adam's powers
                sess.run(step, {ids: [i, (i * 2) % 6]})
        return {"values": sess.run(found)}


def feeds(tf: Any, folder: Path) -> Results:
    """Fetches in lists, tuples and dicts, feeds of what is computed, of variables' values, of arrays of other types."""
    x = tf.placeholder(tf.float32, shape=[None], name="x")
    y = x * 2.0
    z = y + 1.0
    v = tf.Variable(3.0, name="v")
    t = v * 4.0
    config = tf.ConfigProto(log_device_placement=False, allow_soft_placement=True)
    config.gpu_options.allow_growth = True
    config.gpu_options.per_process_gpu_memory_fraction = 0.5
    with tf.device("/cpu:0"), tf.Session(config=config, graph=tf.get_default_graph()) as sess:
        sess.run(v.initializer)
        found = {
            "nested": sess.run({"a": [x, y], "b": (z, {"c": v})}, {x: [1, 2]}), "computed": sess.run(z, {y: [5.0]}),
            "variable": sess.run([t, v], {v: 2.0}), "after": sess.run(t), "strings": sess.run(["v:0", "x:0"], {"x:0": np.arange(3)}),
            "none": [sess.run([v.op, tf.no_op(), t])[2]], "double": sess.run(y, {x: np.array([1.5, 2.5], np.float64)}),
            "empty": sess.run([]), "eval": t.eval(), "same": sess.run([y, y], {x: [1.0]}), "list": sess.run([[v], [[t]]]),
        }  # fmt: skip
        v.load(9.0, sess)
        found["loaded"] = v.eval()
    return found


def choices(tf: Any, folder: Path) -> Results:
    """cond with several results and side effects, nested; while loops with shapes that grow; case; assertions; where."""
    p, q = tf.placeholder(tf.bool, [], name="p"), tf.placeholder(tf.float32, [], name="q")
    v = tf.Variable(1.0, name="v")
    a, b = tf.cond(p, lambda: (q + 1.0, q * 2.0), lambda: (q - 1.0, q / 2.0))
    nested = tf.cond(q > 0.0, lambda: tf.cond(p, lambda: v + 1.0, lambda: v + 2.0), lambda: tf.constant(0.0))
    changed = tf.cond(p, lambda: tf.group(v.assign_add(10.0)), lambda: tf.no_op())
    grow = tf.while_loop(
        lambda i, m: i < 4, lambda i, m: [i + 1, tf.concat([m, m[-1:] * 2.0], 0)], [tf.constant(0), tf.ones([1])],
        shape_invariants=[tf.TensorShape([]), tf.TensorShape([None])],
    )  # fmt: skip
    fibonacci = tf.while_loop(lambda i, a, b: i < 10, lambda i, a, b: (i + 1, b, a + b), (0, 0, 1))
    grade = tf.case(
        {q > 5.0: lambda: tf.constant("high"), q < -5.0: lambda: tf.constant("low")},
        default=lambda: tf.constant("mid"),
        exclusive=True,
    )
    with tf.control_dependencies([tf.assert_greater(q, -100.0)]):
        checked = tf.identity(q)
    slope = tf.gradients(nested + a, [v, q])
    rows = []
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for flag, number in ((True, 3.0), (False, 7.0), (True, -9.0)):
            feed = {p: flag, q: number}
            rows.append([sess.run([a, b, nested, grade, checked], feed), sess.run(slope[1], feed)])
            sess.run(changed, feed)
            rows.append(sess.run(v))
        end = sess.run([grow, fibonacci])
        try:
            sess.run(checked, {q: -200.0})
            failed = "no"
        except tf.errors.InvalidArgumentError:
            failed = "InvalidArgumentError"
    return {"rows": rows, "end": end, "failed": failed, "names": [a.name, b.name, nested.name, changed.name]}


def mapped(tf: Any, folder: Path) -> Results:
    """map_fn, scan and foldl over the first axis, with gradients."""
    x = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    n = tf.placeholder(tf.float32, [None, 2])
    squares = tf.map_fn(lambda r: tf.reduce_sum(r * r), x)
    pair = tf.map_fn(lambda r: (r + 1.0, tf.reduce_max(r)), x, dtype=(tf.float32, tf.float32))
    whole = tf.map_fn(lambda r: tf.cast(r[0], tf.int32), n, dtype=tf.int32)
    running = tf.scan(lambda a, r: a + r, x)
    started = tf.scan(lambda a, r: a * 0.5 + r[0], x, initializer=tf.constant(10.0))
    total = tf.foldl(lambda a, r: a + tf.reduce_prod(r), x, initializer=0.0)
    right = tf.foldr(lambda a, r: a * 0.5 + tf.reduce_sum(r), x, initializer=0.0)
    grads = tf.gradients(tf.reduce_sum(squares) + tf.reduce_sum(running), x)
    with tf.Session() as sess:
        values = sess.run([squares, pair, running, started, total, right, grads])
        return {
            "values": values,
            "whole": [sess.run(whole, {n: np.ones((k, 2)) * 3}) for k in (1, 4)],
            "shapes": [str(squares.shape), str(running.shape)],
        }


def pictures(tf: Any, folder: Path) -> Results:
    """Distortions of pictures as retraining scripts have them: crops, flips, brightness, contrast, with seeds."""
    data = np.random.RandomState(1).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    x = tf.constant(data)
    f = tf.image.convert_image_dtype(x, tf.float32)
    i = tf.image
    made = {
        "crop": tf.random_crop(f, [4, 4, 3], seed=3), "flip": i.random_flip_left_right(f, seed=5), "flop": i.random_flip_up_down(f, seed=2),
        "bright": i.adjust_brightness(f, 0.25), "bright8": i.adjust_brightness(x, 0.1), "random": i.random_brightness(f, 0.4, seed=1),
        "contrast": i.adjust_contrast(f, 1.7), "contrast2": i.random_contrast(f, 0.5, 1.5, seed=2), "box": i.crop_to_bounding_box(x, 1, 2, 3, 4),
        "padded": i.pad_to_bounding_box(x, 1, 2, 9, 11), "smaller": i.resize_image_with_crop_or_pad(x, 4, 4),
        "larger": i.resize_image_with_crop_or_pad(x, 9, 5), "central": i.central_crop(x, 0.5), "turn": i.rot90(x), "swap": i.transpose_image(x),
        "standard": i.per_image_standardization(x), "saturated": i.adjust_saturation(f, 0.5), "hue": i.adjust_hue(f, 0.2),
        "gray": i.rgb_to_grayscale(f), "mean": tf.reduce_mean(i.resize_bilinear([f], [3, 3])), "hsv": i.rgb_to_hsv(f), "rgb": i.hsv_to_rgb(f),
    }  # fmt: skip
    found: Results = {}
    with tf.Session() as sess:
        for _ in range(2):
            found.setdefault("rows", []).append(sess.run(made))
    return found


LESSONS: dict[str, Any] = {
    f.__name__: f
    for f in (
        lstm_static,
        lstm_dynamic,
        gru_and_others,
        words,
        samplers,
        seeds,
        datasets,
        tables,
        feeds,
        choices,
        mapped,
        pictures,
    )
}
