"""Ranges, averages, integers of weights: next to plain loops and NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from kigraph.graph.formats.onnx import NodeProto
from kigraph.quantizing.net import Net, made
from kigraph.quantizing.ranges import METHODS, Histogram, Scale, candidates, merged, scale_of
from kigraph.quantizing.weights import average_inputs, rounded_weights


@pytest.mark.parametrize(
    ("low", "high", "step", "zero"),
    [(0, 255, 1, 0), (-1, 127 / 128, 1 / 128, 128), (-3, 0, 3 / 255, 255), (1, 5.1, 0.02, 0), (-255, -1, 1, 255)],
)
def test_a_scale_has_zero_as_a_value(low: float, high: float, step: float, zero: int) -> None:
    scale = scale_of(low, high)
    assert scale.step == pytest.approx(step, rel=1e-6)
    assert scale.zero == zero
    assert scale.rounded(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


def test_a_value_is_at_most_half_a_step_off_and_cut_at_the_ends() -> None:
    x = np.random.default_rng().uniform(-2, 6, 10_000).astype(np.float32)
    scale = scale_of(-1, 5)
    low, high = scale.ends
    inside = (x >= low) & (x <= high)
    assert np.abs(scale.rounded(x) - x)[inside].max() <= scale.step * 0.5001
    assert scale.rounded(x).min() == pytest.approx(low)
    assert scale.rounded(x).max() == pytest.approx(high)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-44])
def test_nothing_but_zeros_has_a_scale(value: float) -> None:
    found = Histogram()
    found.add(np.full(9, value, np.float32))
    for scale in candidates(found).values():
        assert np.isfinite(scale.step)
        assert scale.step > 0
    assert scale_of(0, 0) == Scale(float(np.float32(1 / 255)), 0)


def test_what_is_counted_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng()
    parts = [(rng.standard_normal(500) * 10.0 ** rng.integers(-4, 4)).astype(np.float32) for _ in range(6)]
    parts.append(np.array([np.nan, np.inf, -np.inf], np.float32))
    histograms = []
    for order in (parts, parts[::-1]):
        found = Histogram()
        for part in order:
            found.add(part)
        histograms.append(found)
    each = []
    for part in parts:
        one = Histogram()
        one.add(part)
        each.append(one)
    histograms.append(merged(each))
    whole = np.concatenate(parts[:-1])
    for found in histograms:
        assert found.counts.tolist() == histograms[0].counts.tolist()
        assert (found.low, found.high) == (whole.min(), whole.max())
        assert found.counts.sum() == whole.size


def test_the_least_error_is_not_above_that_of_the_whole_range() -> None:
    rng = np.random.default_rng()
    x = rng.laplace(size=100_000).astype(np.float32)
    found = Histogram()
    found.add(x)
    scales = candidates(found)
    errors = {m: float(((scales[m].rounded(x) - x).astype(np.float64) ** 2).mean()) for m in METHODS}
    assert errors["mse"] < 0.9 * errors["minmax"]
    # All shares that are searched, by the values themselves.
    lowest = min(
        float(((scale_of(x.min() * s, x.max() * t).rounded(x) - x).astype(np.float64) ** 2).mean())
        for s in np.linspace(0.3, 1, 8)
        for t in np.linspace(0.3, 1, 15)
    )
    assert errors["mse"] <= 1.02 * lowest


def test_a_percentile_leaves_out_what_it_says() -> None:
    x = np.abs(np.random.default_rng().standard_normal(1_000_000)).astype(np.float32)
    found = Histogram()
    found.add(x)
    scale = candidates(found)["percentile"]
    assert scale.zero == 0
    assert float((x > scale.ends[1]).mean()) == pytest.approx(1e-4, rel=0.4)


def _conv(cells: tuple[int, int], **attributes: object) -> NodeProto:
    return made("Conv", ["x", "w"], "y", kernel_shape=cells, **attributes)


@pytest.mark.parametrize(
    ("channels", "groups", "outputs", "cells", "strides", "dilations", "pads"),
    [
        (3, 1, 4, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
        (4, 2, 6, (1, 3), (2, 1), (1, 2), (0, 2, 0, 1)),
        (4, 4, 8, (3, 2), (2, 3), (2, 1), (0, 0, 3, 1)),
    ],
)
def test_average_inputs_give_the_mean_of_the_products(
    channels: int, groups: int, outputs: int, cells: tuple[int, int], strides: tuple[int, int],
    dilations: tuple[int, int], pads: tuple[int, int, int, int],
) -> None:  # fmt: skip
    rng = np.random.default_rng()
    x, w = rng.standard_normal((5, channels, 9, 11)), rng.standard_normal((outputs, channels // groups, *cells))
    net = Net([], {"w": w.astype(np.float32)}, [], [], [])
    node = _conv(cells, strides=strides, dilations=dilations, pads=pads, group=groups)
    seen = average_inputs(net, node, x.mean(axis=0))
    assert seen is not None
    wide = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    rows = range(0, wide.shape[2] - (cells[0] - 1) * dilations[0], strides[0])
    columns = range(0, wide.shape[3] - (cells[1] - 1) * dilations[1], strides[1])
    total = np.zeros(outputs)
    for o in range(outputs):
        group = o // (outputs // groups)
        mine = wide[:, group * (channels // groups) : (group + 1) * (channels // groups)]
        for r in rows:
            for c in columns:
                part = mine[
                    :, :, r : r + cells[0] * dilations[0] : dilations[0], c : c + cells[1] * dilations[1] : dilations[1]
                ]
                total[o] += (part * w[o]).sum(axis=(1, 2, 3)).mean()
    np.testing.assert_allclose(
        (seen * w).sum(axis=(1, 2, 3)), total / (len(rows) * len(columns)), rtol=1e-9, atol=1e-12
    )


def test_average_inputs_know_automatic_padding() -> None:
    rng = np.random.default_rng()
    mean = rng.standard_normal((2, 7, 10))
    net = Net([], {"w": np.zeros((1, 2, 3, 4), np.float32)}, [], [], [])
    node = _conv((3, 4), strides=(2, 2))
    node.attribute.append(type(node.attribute[0])(name="auto_pad", s=b"SAME_UPPER", type=3))
    explicit = _conv((3, 4), strides=(2, 2), pads=(1, 1, 1, 1))
    np.testing.assert_array_equal(average_inputs(net, node, mean), average_inputs(net, explicit, mean))


def test_weights_are_symmetric_and_within_half_a_step() -> None:
    rng = np.random.default_rng()
    w = (rng.standard_normal((6, 3, 2, 2)) * 10.0 ** rng.uniform(-3, 3, (6, 1, 1, 1))).astype(np.float32)
    w[2] = 0
    found = rounded_weights(_conv((2, 2)), w, None, 0.1)
    assert found.values.dtype == np.int8
    assert found.values.min() >= -127
    assert np.abs(found.values).max(axis=(1, 2, 3)).tolist() == [127, 127, 0, 127, 127, 127]
    assert (np.abs(found.real() - w) <= 0.5001 * found.steps.reshape(-1, 1, 1, 1)).all()


def test_a_bias_beyond_int32_makes_the_steps_larger() -> None:
    w = np.full((2, 1, 1, 1), 1e-9, np.float32)
    found = rounded_weights(_conv((1, 1)), w, np.array([1.0, 0.0], np.float32), 1e-3)
    assert 1.0 / (found.steps[0] * 1e-3) <= 2**30 * 1.001
    assert found.values.ravel().tolist() == [0, 127]
