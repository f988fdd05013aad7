"""kigraph.compat.v1: sessions, effects, files, and what is refused by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
import kigraph.compat.v1 as tf


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with tf.Graph().as_default():
        yield


def test_print_and_assert(capfd: pytest.CaptureFixture[str]) -> None:
    x = tf.placeholder(tf.float32, [2, 3])
    shown = tf.Print(x, [x, tf.shape(x)], "x is ", first_n=2, summarize=4)
    with tf.control_dependencies([tf.Assert(tf.reduce_all(x > 0.0), ["not positive", x])]):
        y = x * 2.0
    with tf.Session() as sess:
        data = np.arange(1, 7).reshape(2, 3)
        for _ in range(3):
            np.testing.assert_array_equal(sess.run(shown, {x: data}), data)
        assert capfd.readouterr().err.splitlines() == ["x is [[1 2 3][4]...][2 3]"] * 2
        assert sess.run(y, {x: data})[1, 2] == 12
        with pytest.raises(tf.errors.InvalidArgumentError, match="not positive"):
            sess.run(y, {x: -data})


def test_an_assertion_that_fails_changes_nothing() -> None:
    v = tf.Variable(1.0)
    up = tf.assign_add(v, 1.0)
    with tf.control_dependencies([up]):
        check = tf.assert_less(v.read_value(), 2.5)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(check)
        assert v.eval() == 2
        with pytest.raises(tf.errors.InvalidArgumentError):
            sess.run(check)
        assert v.eval() == 2


def test_assignments_in_an_order_and_in_none() -> None:
    v = tf.Variable(1.0, name="v")
    first = tf.assign(v, 5.0)
    with tf.control_dependencies([first]):
        second = tf.assign_add(v, 2.0)
    with tf.control_dependencies([second]):
        last = tf.identity(v.read_value())
    third = tf.assign(v, 9.0)
    with tf.Session() as sess:
        assert sess.run(last) == 7
        with pytest.raises(tf.errors.InvalidArgumentError, match="twice in no order"):
            sess.run([second, third])
        assert v.eval() == 7


def test_an_assignment_before_a_computed_predicate_is_kept_once() -> None:
    count = tf.Variable(0)
    seen = tf.cond(tf.assign_add(count, 1) > 2, lambda: count.read_value() * 100, lambda: count.read_value() * 10)
    with tf.Session() as sess:
        sess.run(count.initializer)
        assert [sess.run(seen) for _ in range(4)] == [10, 20, 300, 400]
        assert count.eval() == 4


def test_branches_inside_of_branches_and_loops() -> None:
    a, b = tf.placeholder(tf.bool, []), tf.placeholder(tf.bool, [])
    x = tf.constant(2.0)
    nested = tf.cond(
        a, lambda: tf.cond(b, lambda: x + 1.0, lambda: x + 2.0), lambda: tf.cond(b, lambda: x * 10.0, lambda: x)
    )
    odd = tf.while_loop(
        lambda i, s: i < 6, lambda i, s: [i + 1, tf.cond(tf.equal(i % 2, 1), lambda: s + tf.cast(i, tf.float32), lambda: s)],
        [0, x],
    )  # fmt: skip
    grown = tf.while_loop(
        lambda t: tf.shape(t)[0] < 20, lambda t: [tf.concat([t, t * 2.0], 0)], [tf.ones([3])], shape_invariants=[tf.TensorShape([None])]
    )  # fmt: skip
    limited = tf.while_loop(lambda i: True, lambda i: i + 1, [tf.constant(0)], maximum_iterations=7)
    with tf.Session() as sess:
        assert [sess.run(nested, {a: p, b: q}) for p in (True, False) for q in (True, False)] == [3, 4, 20, 2]
        assert sess.run(odd[1]) == 2 + 1 + 3 + 5
        assert sess.run(grown).tolist()[-1] == 8
        assert sess.run(grown).shape == (24,)
        assert sess.run(limited) == 7
    with pytest.raises(ValueError, match="shape_invariants"):
        tf.while_loop(lambda t: True, lambda t: [tf.concat([t, t], 0)], [tf.ones([3])])
    v = tf.Variable(0)
    with pytest.raises(ValueError, match=r"AssignAdd inside of a tf\.while_loop"):
        tf.while_loop(lambda i: i < 3, lambda i: tf.assign_add(v, 1), [0])


def test_gradients_through_branches_and_training_steps() -> None:
    p, w = tf.placeholder(tf.bool, []), tf.Variable([1.0, 2.0])
    y = tf.cond(p, lambda: tf.reduce_sum(w * w), lambda: 3.0 * w[0])
    gradient = tf.gradients(y, w)[0]
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        assert sess.run(gradient, {p: True}).tolist() == [2, 4]
        assert sess.run(gradient, {p: False}).tolist() == [3, 0]


def test_initialized_value_and_reports() -> None:
    first = tf.Variable(tf.random_normal([3]), name="first")
    second = tf.Variable(first.initialized_value() * 2.0, name="second")
    report = tf.report_uninitialized_variables()
    with tf.Session() as sess:
        assert sess.run(report).tolist() == [b"first", b"second"]
        sess.run(tf.global_variables_initializer())
        a, b = sess.run([first, second])
        np.testing.assert_array_equal(b, a * 2)
        assert sess.run(report).tolist() == []


def test_set_shape_is_a_promise_that_a_run_holds() -> None:
    x = tf.placeholder(tf.float32)
    y = x * 2.0
    y.set_shape([None, 3])
    w = tf.layers.dense(y, 2)
    assert w.shape.as_list() == [None, 2]
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        assert sess.run(w, {x: np.ones((5, 3))}).shape == (5, 2)
        with pytest.raises(tf.errors.InvalidArgumentError):
            sess.run(w, {x: np.ones((5, 4))})
    with pytest.raises(ValueError, match="incompatible"):
        y.set_shape([2, 4])


def test_saver_keeps_the_last_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    v = tf.get_variable("v", [2], initializer=tf.ones_initializer())
    saver = tf.train.Saver(max_to_keep=2)
    prefix = str(tmp_path / "odd name\n\u00e4" / "m.ckpt")
    os.mkdir(os.path.dirname(prefix))
    with tf.Session() as sess:
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value v"):
            saver.save(sess, prefix)
        sess.run(v.initializer)
        paths = [saver.save(sess, prefix, global_step=i) for i in range(3)]
        assert [tf.train.checkpoint_exists(p) for p in paths] == [False, True, True]
        assert tf.train.latest_checkpoint(os.path.dirname(prefix)) == paths[-1]
        with pytest.raises(ValueError, match="doesn't exist"):
            saver.save(sess, str(tmp_path / "no" / "m"))
        with pytest.raises(ValueError, match="not a valid checkpoint"):
            saver.restore(sess, paths[0])
    with tf.Graph().as_default():
        other = tf.get_variable("v", [3])
        with tf.Session() as sess:
            with pytest.raises(tf.errors.InvalidArgumentError, match="shapes of both tensors"):
                tf.train.Saver().restore(sess, paths[-1])
            with pytest.raises(tf.errors.NotFoundError, match="Key w not found"):
                tf.train.Saver({"w": other}).restore(sess, paths[-1])
            Path(f"{paths[-1]}.npz").write_bytes(b"PK\x03\x04 damaged")
            with pytest.raises(tf.errors.DataLossError):
                tf.train.Saver().restore(sess, paths[-1])


def test_a_file_is_read_by_a_program_and_never_by_a_graph_of_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\x00content")
    read = tf.read_file(str(secret), name="read")
    with tf.Session() as sess:
        assert sess.run(read) == b"\x00content"
    data = tf.get_default_graph().as_graph_def().SerializeToString()
    with tf.Graph().as_default():
        copy = tf.GraphDef()
        copy.ParseFromString(data)
        (again,) = tf.import_graph_def(copy, return_elements=["read:0"])
        with tf.Session() as sess, pytest.raises(tf.errors.UnimplementedError, match="is no op of files"):
            sess.run(again)
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError, match="No such file"):
        sess.run(tf.read_file(str(tmp_path / "none")))


def test_what_is_missing_names_the_alternative() -> None:
    with pytest.raises(AttributeError, match=r"has no py_func; use instead: a graph runs no Python"):
        tf.py_func  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no nn\.raw_rnn; use instead: tf\.nn\.dynamic_rnn"):
        tf.nn.raw_rnn  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no reduce_summ; similar: reduce_sum"):
        tf.reduce_summ  # noqa: B018
    with pytest.raises(AttributeError, match="no field 'frction'"):
        tf.GPUOptions(frction=1)
    with pytest.raises(TypeError, match="older order"):
        tf.concat(0, [tf.ones([1]), tf.ones([1])])
    with pytest.raises(ValueError, match="with a seed the order would not be TensorFlow's"):
        tf.random_shuffle([1, 2], seed=3)
    with pytest.raises(ValueError, match="no servers"):
        tf.Session("grpc://localhost:1")


def test_errors_are_kigraphs_too() -> None:
    assert issubclass(tf.errors.OpError, ki.KigraphError)
    x = tf.placeholder(tf.float32, [], name="x")
    with tf.Session() as sess, pytest.raises(ki.KigraphError, match="You must feed a value for placeholder tensor 'x'"):
        sess.run(x)


def test_interactive_session_and_defaults() -> None:
    sess = tf.InteractiveSession(config=tf.ConfigProto(gpu_options=tf.GPUOptions(allow_growth=True)))
    assert tf.get_default_session() is sess
    assert (tf.constant(2.0) * 3.0).eval() == 6
    sess.close()
    assert tf.get_default_session() is None
    graph = tf.get_default_graph()
    graph.finalize()
    with pytest.raises(RuntimeError, match="finalized"):
        tf.constant(1)


def test_seeds_of_the_graph() -> None:
    def draw() -> list[float]:
        with tf.Graph().as_default():
            tf.set_random_seed(1234)
            a, b = tf.random_normal([2]), tf.random_uniform([2])
            with tf.Session() as sess:
                return [float(v) for part in sess.run([a, b]) for v in part]

    assert draw() == draw()


def test_optimizer_arguments() -> None:
    v, u = tf.Variable(1.0), tf.Variable(2.0)
    rate = tf.placeholder(tf.float32, [])
    optimizer = tf.train.GradientDescentOptimizer(rate)
    pairs = optimizer.compute_gradients(v * v * u, var_list=[v])
    clipped = [(tf.clip_by_value(g, -1.0, 1.0), w) for g, w in pairs]
    step = optimizer.apply_gradients(clipped)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(step, {rate: 0.25})
        assert (v.eval(), u.eval()) == (0.75, 2)


def test_moving_averages() -> None:
    v = tf.Variable(10.0, name="v")
    average = tf.train.ExponentialMovingAverage(0.5)
    op = average.apply([v])
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(tf.assign(v, 20.0))
        sess.run(op)
        assert sess.run(average.average(v)) == 15
        assert average.average_name(v) == "v/ExponentialMovingAverage"


def test_summaries(tmp_path: Path) -> None:
    tf.summary.scalar("loss", tf.constant(0.5))
    tf.summary.histogram("w", tf.ones([3]))
    merged = tf.summary.merge_all()
    with tf.Session() as sess:
        value = sess.run(merged)
        assert value.shape == (2,)
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            with pytest.raises(ki.KigraphError, match=r"pip install 'kigraph\[tensorboard\]'"):
                tf.summary.FileWriter(tmp_path)
            return
        with tf.summary.FileWriter(tmp_path, sess.graph) as writer:
            writer.add_summary(value, 1)
        assert os.listdir(tmp_path)
