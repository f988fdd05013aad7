"""tf.data: where iterators begin, what a run takes, and what is refused; programs beside TensorFlow are in tf1_lessons.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import kigraph.compat.v1 as tf


@pytest.fixture(autouse=True)
def _graph() -> None:
    tf.reset_default_graph()


def _all(sess: Any, fetch: Any) -> list[Any]:
    found = []
    while True:
        try:
            found.append(sess.run(fetch))
        except tf.errors.OutOfRangeError:
            return found


def test_a_placeholder_gives_the_data_when_the_iterator_begins() -> None:
    x = tf.placeholder(tf.float32, [None, 2])
    iterator = tf.data.Dataset.from_tensor_slices(x).batch(2).make_initializable_iterator()
    rows = iterator.get_next()
    with tf.Session() as sess:
        with pytest.raises(tf.errors.FailedPreconditionError, match="has not been initialized"):
            sess.run(rows)
        for data in (np.ones((3, 2)), np.zeros((1, 2))):
            sess.run(iterator.initializer, {x: data})
            np.testing.assert_array_equal(np.concatenate(_all(sess, rows)), data)


def test_one_iterator_serves_training_and_validation() -> None:
    train, check = tf.data.Dataset.range(3), tf.data.Dataset.range(10, 12).repeat(2)
    iterator = tf.data.Iterator.from_structure(train.output_types, train.output_shapes)
    value = iterator.get_next()
    begin = [iterator.make_initializer(d) for d in (train, check)]
    with tf.Session() as sess:
        for _ in range(2):
            sess.run(begin[0])
            assert _all(sess, value) == [0, 1, 2]
            sess.run(begin[1])
            assert _all(sess, value) == [10, 11, 10, 11]
    with pytest.raises(TypeError, match="does not fit an iterator"):
        iterator.make_initializer(tf.data.Dataset.from_tensors("text"))


def test_a_run_takes_an_element_only_if_it_needs_one_and_sessions_each_have_their_place() -> None:
    value = tf.data.Dataset.range(5).make_one_shot_iterator().get_next()
    double, other = value * 2, tf.constant(7)
    with tf.Session() as sess, tf.Session() as second:
        assert sess.run([value, double]) == [0, 0]
        assert sess.run(other) == 7
        assert sess.run(double, {value: 9}) == 18  # fed: nothing is taken
        assert sess.run(double) == 2
        assert second.run(value) == 0


def test_a_shuffled_set_has_all_elements_and_mixes_them() -> None:
    tf.set_random_seed(1)
    value = tf.data.Dataset.range(50).shuffle(20).repeat(2).make_one_shot_iterator().get_next()
    with tf.Session() as sess:
        found = _all(sess, value)
    assert sorted(found[:50]) == sorted(found[50:]) == list(range(50))
    assert found[:50] != list(range(50))
    assert found[:50] != found[50:]
    with pytest.raises(ValueError, match="with a seed the order would not be TensorFlow's"):
        tf.data.Dataset.range(3).shuffle(3, seed=1)


def test_generators_texts_and_functions_with_tensors_from_outside() -> None:
    def numbers() -> Iterator[tuple[int, str]]:
        yield from [(1, "one"), (2, "zwölf")]

    factor = tf.constant(3)
    data = tf.data.Dataset.from_generator(numbers, (tf.int32, tf.string), (tf.TensorShape([]), tf.TensorShape([])))
    made = data.map(lambda n, t: {"n": n * factor, "t": t}).concatenate(data.map(lambda n, t: {"n": n, "t": t})).cache()
    value = tf.data.Dataset.zip((made.repeat(2), tf.data.Dataset.range(99))).make_one_shot_iterator().get_next()
    with tf.Session() as sess:
        found = _all(sess, value)
    assert [int(row["n"]) for row, _ in found] == [3, 6, 1, 2] * 2
    assert [row["t"] for row, _ in found][:2] == [b"one", "zwölf".encode()]
    assert [int(i) for _, i in found] == list(range(8))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="are not compatible: all must have as many rows"):
        tf.data.Dataset.from_tensor_slices((np.zeros(3), np.zeros(4)))
    with pytest.raises(AttributeError, match=r"Dataset\.interleave is not in kigraph"):
        tf.data.Dataset.range(3).interleave(None)
    with pytest.raises(AttributeError, match=r"data\.TFRecordDataset; use instead: read with Python"):
        tf.data.TFRecordDataset  # noqa: B018
    ragged = tf.data.Dataset.from_generator(lambda: [[1], [1, 2]], tf.int64, [None]).batch(2)
    value = ragged.make_one_shot_iterator().get_next()
    with tf.Session() as sess, pytest.raises(tf.errors.InvalidArgumentError, match="Cannot batch tensors"):
        sess.run(value)
