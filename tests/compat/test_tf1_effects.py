"""Variables, branches and what is done for its effect, in one run: next to a machine that runs statements one by one."""

from __future__ import annotations

import numpy as np
import pytest

import kigraph.compat.v1 as tf

from .random_effects import Program, by_hand, by_module


@pytest.fixture(autouse=True)
def _graph() -> None:
    tf.reset_default_graph()


@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int) -> None:
    program = Program(seed)
    assert by_module(tf, program) == by_hand(program)


def test_a_random_number_is_drawn_once_in_a_run_that_decides_by_it() -> None:
    number, kept = tf.random_uniform([]), tf.Variable(0.0)
    side = tf.cond(number > 0.5, lambda: tf.constant(1.0), lambda: tf.constant(0.0))
    set_side = tf.cond(tf.assign(kept, tf.random_uniform([])) > 0.5, lambda: tf.constant(1.0), lambda: tf.constant(0.0))
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(20):
            found, decided = sess.run([number, side])
            assert (found > 0.5) == decided
            assert sess.run(set_side) == (sess.run(kept) > 0.5)


def test_a_bool_variable_decides_as_it_is_when_it_is_read() -> None:
    flag, other = tf.Variable(False), tf.Variable(1.0)
    with tf.control_dependencies([tf.assign(flag, True), tf.assign(other, 5.0)]):
        side = tf.cond(tf.identity(flag), lambda: other * 2.0, lambda: other * 3.0)
    with tf.control_dependencies([side]):
        after = tf.assign(flag, False)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        np.testing.assert_equal(sess.run([side, after]), [10.0, False])
        np.testing.assert_equal(sess.run([flag, other]), [False, 5.0])


def test_tensors_fed_by_the_user_and_those_computed_before_are_told_apart() -> None:
    kept = tf.Variable(1.0)
    new = tf.assign_add(kept, 1.0)
    value = new * 2.0
    decided = value > 3.0
    side = tf.cond(decided, lambda: value + 0.0, lambda: -value)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for fed, expected, stays in ((None, 4.0, 2.0), ({decided: True, value: 7.0}, 7.0, 2.0), (None, 6.0, 3.0)):
            assert sess.run(side, fed) == expected
            assert sess.run(kept) == stays
