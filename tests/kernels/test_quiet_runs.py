"""Runs of NumPy kernels keep to IEEE results whatever the caller's error state is."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

from kigraph.kernels.host.support import quietly


def _one_over_zero(x: np.ndarray, y: np.ndarray) -> None:
    np.divide(1, x, out=y)


def test_no_warning_and_no_error_whatever_the_caller_asks() -> None:
    x, y = np.zeros(3, np.float32), np.empty(3, np.float32)
    run = quietly(_one_over_zero, x, y)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        run()
        run()
        assert np.isposinf(y).all()
        with pytest.raises(FloatingPointError):  # the caller's state is as it was
            _one_over_zero(x, y)


def test_an_error_leaves_the_run_usable() -> None:
    calls = []

    def fails(first: list[int]) -> None:
        calls.append(1)
        if first:
            raise ValueError(first.pop())

    before = np.geterr()
    run = quietly(fails, [7])
    with pytest.raises(ValueError, match="7"):
        run()
    run()
    assert len(calls) == 2
    assert np.geterr() == before


def test_runs_inside_each_other_and_on_several_threads() -> None:
    x, y = np.zeros(4, np.float32), np.empty(4, np.float32)
    inner = quietly(_one_over_zero, x, y)
    quietly(inner)()
    assert np.isposinf(y).all()
    results = [np.empty(4, np.float32) for _ in range(4)]
    threads = [threading.Thread(target=quietly(_one_over_zero, x, r)) for r in results]
    with np.errstate(all="raise"):
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert all(np.isposinf(r).all() for r in results)
