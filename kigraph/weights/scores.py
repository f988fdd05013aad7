"""A network's output to probabilities, according to the kind of scores that its card states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import CardError, RunError
from .card import Card

__all__ = ["check_classifies", "check_numbers", "classes_of", "probabilities_of"]


def classes_of(shape: Sequence[int | None] | None, card: Card) -> int | None:
    """How many names the outputs of a tensor of that shape have: two for one sigmoid (no and yes). None if unknown."""
    classes = shape[-1] if shape else None
    return 2 if classes == 1 and card.scores == "sigmoid" else classes


def check_classifies(shape: Sequence[int | None] | None, card: Card) -> None:
    """CardError where the output is no classification: features, one number without a sigmoid."""
    if card.scores == "values":
        raise CardError(
            f"{card.output} of shape {tuple(shape or ())} has no class scores (card '{card.name}'): it is a network without "
            "a classifier, or one for something else. predict() gives the values; ki.Card(scores=...) says what they are"
        )
    if card.scores == "logits" and shape and shape[-1] == 1:
        raise CardError(
            f"{card.output} gives one number, and the softmax of one number is 1 for every image. The file does not say what "
            "it means. predict() gives it; if it is the logit of a yes/no question, yes has the probability 1 / (1 + exp(-x))"
        )


def check_numbers(scores: np.ndarray[Any, Any], source: str) -> None:
    """RunError for (classes,) scores of an image of which some are NaN or infinite: no label is the most probable one then."""
    if bad := int(np.count_nonzero(~np.isfinite(scores))):
        raise RunError(
            f"{source or 'the image'}: {bad} of {len(scores)} scores are NaN or infinite, expected finite numbers; "
            "check the weights, and mean and std of the card (`kigraph card FILE` prints it)"
        )


def probabilities_of(scores: np.ndarray[Any, Any], card: Card) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(images, ...) of raw output -> float32 (images, classes).

    'logits' go through softmax. 'sigmoid': every class independently, not adding up to 1; a single one is the probability of the
    second class (class 1, as Keras counts), so that the answer has two columns.
    """
    scores = scores.reshape(len(scores), -1).astype(np.float32, copy=False)
    if card.quantization is not None:
        scale, zero = card.quantization
        scores = (scores - np.float32(zero)) * np.float32(scale)
    if card.scores == "logits":
        exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = exponents / exponents.sum(axis=1, keepdims=True)
    elif card.scores == "sigmoid" and scores.shape[1] == 1:
        scores = np.concatenate([1 - scores, scores], axis=1)
    return scores
