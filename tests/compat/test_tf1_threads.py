"""Runs that assign and runs that read, at the same time; what leads to a predicate runs once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import kigraph.compat.v1 as tf


@pytest.fixture(autouse=True)
def _graph() -> None:
    tf.reset_default_graph()


def test_what_is_printed_before_a_predicate_is_printed_once(capfd: pytest.CaptureFixture[str]) -> None:
    kept = tf.Variable(0.0)
    said = tf.Print(tf.constant(1.0), [], "before")
    with tf.control_dependencies([said]):
        new = tf.assign(kept, said)
        side = tf.cond(
            new > 0.5,
            lambda: tf.cond(new + said > 1.5, lambda: tf.Print(new, [], "inside") * 2.0, lambda: new),
            lambda: said,
        )
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for fetches, expected in ((side, 2.0), ([side, said], [2.0, 1.0])):
            assert sess.run(fetches) == expected
            assert sorted(capfd.readouterr().err.split()) == ["before", "inside"]


def test_each_of_several_threads_sees_its_own_assignment() -> None:
    count = tf.Variable(0)
    step = tf.assign_add(count, 1)
    with tf.Session() as sess, ThreadPoolExecutor(4) as pool:
        sess.run(count.initializer)
        found = sorted(int(f.result()) for f in [pool.submit(sess.run, step) for _ in range(200)])
        assert found == [*range(1, 201)]


def test_a_branch_sees_variables_of_one_time() -> None:
    x, y = tf.Variable(1.0), tf.Variable(1.0)
    both = [tf.assign(x, -x), tf.assign(y, -y)]
    side = tf.cond(x + 0.0 > 0.0, lambda: y * 1.0, lambda: y * -1.0)
    stop = threading.Event()
    with tf.Session() as sess, ThreadPoolExecutor(1) as pool:
        sess.run(tf.global_variables_initializer())

        def turn() -> None:
            while not stop.is_set():
                sess.run(both)

        turning = pool.submit(turn)
        try:
            assert {float(sess.run(side)) for _ in range(300)} == {1.0}
        finally:
            stop.set()
        turning.result()
