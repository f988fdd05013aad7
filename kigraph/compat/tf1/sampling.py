"""Losses over many classes by a sample of them: tf.nn.nce_loss, sampled_softmax_loss and their samplers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .array import ones_like, reshape, size, stop_gradient, zeros_like
from .building import convert
from .control import while_loop
from .entropy import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2
from .graph import Tensor, get_default_graph
from .math import FUNCTIONS, argmax, cast, matmul, reduce_any, reduce_sum
from .nn import embedding_lookup
from .parts import concat, unique
from .random import get_seed
from .shapes import TensorShape

__all__ = [
    "log_uniform_candidate_sampler",
    "nce_loss",
    "sampled_softmax_loss",
    "uniform_candidate_sampler",
]

_f = FUNCTIONS


class _Sampled(NamedTuple):
    """Classes, and how often true and sampled ones are expected in such a sample."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


def _sampler(
    default: str, draw: Callable[[int, int, tuple[int, int]], Tensor], share: Callable[[Tensor, int], Tensor], doc: str
) -> Callable[..., _Sampled]:
    def sampler(
        true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int | None = None,
        name: str | None = None,
    ) -> _Sampled:  # fmt: skip
        if unique and num_sampled > range_max:
            raise ValueError(f"{default}: {num_sampled} different classes cannot be sampled out of {range_max}")
        with get_default_graph().name_scope(name or default):
            seeds = get_seed(seed)
            if unique:
                found, tries = _different(lambda n, s: draw(n, range_max, s), num_sampled, seeds)
            else:
                found, tries = draw(num_sampled, range_max, seeds), convert(num_sampled, "int64")
            counts = [_expected(share(convert(ids), range_max), tries, num_sampled) for ids in (true_classes, found)]
            return _Sampled(stop_gradient(found), stop_gradient(counts[0]), stop_gradient(counts[1]))

    sampler.__doc__ = doc
    return sampler


def _different(draw: Any, count: int, seeds: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The first ``count`` different ones of the drawn classes, and how many draws they took."""
    first, second = seeds
    rest = seeds if seeds == (0, 0) else (first, (second + 1) % 2**31)  # or the loop would draw the same again
    block = 4 * count + 64

    def more(drawn: Tensor) -> Tensor:
        return _f["less"](size(unique(drawn)[0]), count)

    drawn = while_loop(
        more, lambda drawn: concat([drawn, draw(block, rest)], 0), [draw(block, seeds)], shape_invariants=[TensorShape([None])]
    )  # fmt: skip
    found, places = unique(drawn)[:2]
    last = argmax(cast(_f["equal"](places, count - 1), "int32"), 0)
    return reshape(found[:count], [count]), last + 1


def _expected(share: Tensor, tries: Tensor, count: int) -> Tensor:
    from .parts import where_v2

    wide = cast(share, "float64")
    times = cast(tries, "float64")
    once_each = _f["negative"](_f["expm1"](times * _f["log1p"](_f["negative"](wide))))
    return cast(where_v2(_f["equal"](times, np.float64(count)), wide * np.float64(count), once_each), "float32")


def _drawn_log_uniform(count: int, classes: int, seeds: tuple[int, int]) -> Tensor:
    attrs = {"dtype": np.dtype(np.float64), "seed": seeds[0], "seed2": seeds[1]}
    sizes = convert([count], "int32")
    numbers = get_default_graph().create("RandomUniform", [sizes], attrs, "RandomUniform").outputs[0]
    found = cast(_f["exp"](numbers * math.log1p(classes)), "int64") - 1
    return _f["mod"](found, np.int64(classes))


def _drawn_uniform(count: int, classes: int, seeds: tuple[int, int]) -> Tensor:
    inputs = [convert([count], "int32"), convert(0, "int64"), convert(classes, "int64")]
    attrs = {"seed": seeds[0], "seed2": seeds[1]}
    return get_default_graph().create("RandomUniformInt", inputs, attrs, "RandomUniformInt").outputs[0]


def _log_uniform_share(ids: Tensor, classes: int) -> Tensor:
    number = cast(ids, "float64")
    return (_f["log"](number + 2.0) - _f["log"](number + 1.0)) / math.log1p(classes)


log_uniform_candidate_sampler = _sampler(
    "LogUniformCandidateSampler", _drawn_log_uniform, _log_uniform_share,
    "num_sampled classes, small numbers more often: P(k) = log((k + 2) / (k + 1)) / log(range_max + 1).",
)  # fmt: skip
uniform_candidate_sampler = _sampler(
    "UniformCandidateSampler", _drawn_uniform, lambda ids, classes: zeros_like(ids, "float64") + 1.0 / classes,
    "num_sampled classes out of range_max, each with the same probability.",
)  # fmt: skip


def _logits(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int, sampled_values: Any,
    subtract_log_q: bool, remove_accidental_hits: bool, seed: int | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Logits (batch, num_true + num_sampled) of the true and the sampled classes, and the labels to them."""
    labels = cast(convert(labels), "int64")
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(labels, num_true, num_sampled, True, num_classes, seed)
    sampled, true_count, sampled_count = (stop_gradient(s) for s in sampled_values)
    sampled, inputs, flat = cast(sampled, "int64"), convert(inputs), reshape(labels, [-1])
    width = inputs.shape[-1].value
    true_w = reshape(embedding_lookup(weights, flat), [-1, num_true, width])
    true = reduce_sum(_f["multiply"](reshape(inputs, [-1, 1, width]), true_w), 2)
    true = true + reshape(embedding_lookup(biases, flat), [-1, num_true])
    other = matmul(inputs, embedding_lookup(weights, sampled), transpose_b=True) + embedding_lookup(biases, sampled)
    if remove_accidental_hits:
        hits = reduce_any(_f["equal"](reshape(labels, [-1, num_true, 1]), reshape(sampled, [1, 1, -1])), axis=1)
        other = other + cast(hits, other.dtype) * np.array(np.finfo(np.float32).min, other.core.dtype)
    if subtract_log_q:
        true, other = true - _f["log"](true_count), other - _f["log"](sampled_count)
    targets = concat([ones_like(true) / np.array(num_true, true.core.dtype), zeros_like(other)], 1)
    return concat([true, other], 1), targets


def nce_loss(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int = 1,
    sampled_values: Any = None, remove_accidental_hits: bool = False, partition_strategy: str = "mod", name: str = "nce_loss",
) -> Tensor:  # fmt: skip
    """Noise-contrastive estimation: the losses (batch) of telling true classes from sampled ones.

    weights (classes, features), biases (classes), labels (batch, num_true), inputs (batch, features).
    """
    with get_default_graph().name_scope(name):
        logits, targets = _logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, True, remove_accidental_hits, None
        )  # fmt: skip
        return reduce_sum(sigmoid_cross_entropy_with_logits(labels=targets, logits=logits, name="sampled_losses"), 1)


def sampled_softmax_loss(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int = 1,
    sampled_values: Any = None, remove_accidental_hits: bool = True, partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss", seed: int | None = None,
) -> Tensor:  # fmt: skip
    """The losses (batch) of a softmax over the true and the sampled classes; arguments as for nce_loss."""
    with get_default_graph().name_scope(name):
        logits, targets = _logits(
            weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, True, remove_accidental_hits, seed
        )  # fmt: skip
        return softmax_cross_entropy_with_logits_v2(stop_gradient(targets), logits)
