"""What the worker threads of a model do with a request: take it apart, decode its images, hand them to the network."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import ImageError
from ..weights.scores import probabilities_of
from .errors import Refused
from .memory import PixelBudget, release_after
from .network import Network, Passed

if TYPE_CHECKING:
    from ..calling import Call
    from ..classifier import Classifier
    from ..vision.labels import Label
    from .bodies import Upload
    from .engine import Engine
    from .options import Options

__all__ = ["Outcome", "Task", "Timing", "Work"]


@dataclass(slots=True)
class Timing:
    """Where the time of an image went, in seconds. ``queue``: waiting for a thread, and for the network."""

    queue: float = 0.0
    decode: float = 0.0
    compute: float = 0.0

    def add(self, other: Timing) -> None:
        """Makes it the time of both."""
        self.queue, self.decode, self.compute = (
            self.queue + other.queue,
            self.decode + other.decode,
            self.compute + other.compute,
        )

    def to_json(self) -> dict[str, float]:
        """Milliseconds."""
        return {name: round(getattr(self, name) * 1000, 2) for name in ("queue", "decode", "compute")}


@dataclass(slots=True)
class Outcome:
    """What became of an image: ``labels``, or ``error``."""

    filename: str
    timing: Timing
    labels: tuple[Label, ...] = ()
    error: Refused | None = None

    def to_json(self) -> dict[str, Any]:
        """The answer for an image."""
        if self.error is not None:
            error = {"code": self.error.code, "message": self.error.message}
            return {"filename": self.filename, "error": error, "milliseconds": self.timing.to_json()}
        labels = [label.to_json() for label in self.labels]
        return {"filename": self.filename, "labels": labels, "milliseconds": self.timing.to_json()}


Array: TypeAlias = "np.ndarray[Any, Any]"
#: What a worker does for a request; its result is the answer.
Task: TypeAlias = "Callable[[Work], Any]"


class Work:
    """The work of one model. ``network`` is None for a model that is called with encoded images, one at a time.

    seen: is told the timing of every image.
    """

    def __init__(
        self, model: Classifier, options: Options, budget: PixelBudget, network: Network | None,
        seen: Callable[[Timing, bool], None],
    ) -> None:  # fmt: skip
        self.model, self.options, self.network = model, options, network
        self._budget, self._seen = budget, seen
        self.engine: Engine | None = None
        #: Seconds that a thread takes to decode an image, the mean of the last ones.
        self.decoding = 0.0

    def __call__(self, task: Task) -> Any:
        """Runs a task in a thread of ``engine``."""
        return task(self)

    def pace(self) -> float:
        """Seconds from one image to the next when there are enough."""
        if self.network is None:
            return self.decoding
        return max(self.network.pace, self.decoding * self.network.lanes / max(self.options.decoding_threads, 1))

    def images(self, uploads: Sequence[Upload], top: int) -> list[Outcome]:
        """Classifies images. One that cannot be decoded is an error of its own; Refused 429 if there is no room for so many."""
        assert self.engine is not None
        with self.engine.more(len(uploads) - 1):
            started = [self._started(upload, top) for upload in uploads]
            return [self._finished(outcome, passed, top) for outcome, passed in started]

    def tensors(self, call: Call, feeds: Mapping[str, Array], timing: Timing, *, parts: bool) -> dict[str, Array]:
        """The outputs of a signature for its inputs. parts: they are images, which go through the network a few at a time."""
        assert self.engine is not None
        timing.queue += self.engine.waited()
        abandoned = self.engine.abandoned()
        found = []
        for part in _parts(call, feeds) if parts else [feeds]:
            if self.network is None:
                start = time.monotonic()
                found.append(_in_rows(call, part))
                timing.compute += time.monotonic() - start
            else:
                passed = self._awaited(self.network.call(lambda part=part: _in_rows(call, part), abandoned))  # type: ignore[misc]
                timing.queue += passed.queue
                timing.compute += passed.compute
                found.append(passed.value)
        outputs = {n: np.concatenate([one[n] for one in found]) if len(found) > 1 else found[0][n] for n in found[0]}
        self._seen(timing, True)
        return outputs

    def prepared(self, upload: Upload, timing: Timing) -> Array:
        """An encoded photograph as one row of pixels. Refused 422 if it cannot be decoded; the name of the upload is its number."""
        outcome = Outcome(upload.filename, Timing())
        image = self._decoded(outcome, upload, None)
        if outcome.error is not None:
            raise Refused(outcome.error.status, outcome.error.code, f"image {upload.filename}: {outcome.error.message}")
        assert image is not None
        timing.add(outcome.timing)
        return image

    def _started(self, upload: Upload, top: int) -> tuple[Outcome, Future[Passed] | None]:
        """Decodes an image and hands it to the network; without one, classifies it."""
        assert self.engine is not None
        outcome = Outcome(upload.filename, Timing(queue=self.engine.waited()))
        if self.network is None:
            self._decoded(outcome, upload, top)
            return outcome, None
        with self.network.expecting():
            image = self._decoded(outcome, upload, None)
            return outcome, None if image is None else self.network.put(image, self.engine.abandoned())

    def _decoded(self, outcome: Outcome, upload: Upload, top: int | None) -> Array | None:
        """One row of pixels, or an error in ``outcome``. top: if the model takes encoded images, which then are classified."""
        assert self.engine is not None
        start = time.monotonic()
        try:
            if self.engine.abandoned()():
                raise Refused(499, "gone", "the client has gone")
            if not upload.data:
                raise Refused(422, "no_image", "the image is empty")
            pixels = pixels_of(upload.data, self.options.max_pixels)
            with self._budget.taken(pixels), release_after(pixels):
                begin = time.monotonic()
                outcome.timing.queue += begin - start
                if top is not None:
                    self._whole(outcome, upload.data, top)
                    return None
                image = self._prepared(upload.data)
                outcome.timing.decode = time.monotonic() - begin
            self.decoding += (outcome.timing.decode - self.decoding) / (8 if self.decoding else 1)
            return image
        except ImageError:
            # Not the message: it quotes the image.
            outcome.error = Refused(
                422, "bad_image", "this is not an image that can be decoded, or it is damaged or too large"
            )
        except Refused as refused:
            outcome.error = refused
        self._seen(outcome.timing, False)
        return None

    def _prepared(self, data: bytes) -> Array:
        """One row of what the card's input takes; a graph that decodes images itself prepares them itself, too."""
        from ..vision.decode import apply_orientation, decode_image, image_header

        model, card = self.model, self.model.require_card()
        if card.encoded is None or card.pixels is None:
            return model.prepare([data])
        header = image_header(data, max_pixels=self.options.max_pixels)
        feeds: dict[Any, Any] = {card.encoded: data}
        if header.format != "JPEG":
            feeds = {card.pixels: decode_image(data, max_pixels=self.options.max_pixels)}
        elif header.orientation != 1:
            stored = np.asarray(model.session.run(card.pixels, feeds))
            feeds = {card.pixels: apply_orientation(stored, header.orientation)}
        return np.asarray(model.session.run(card.input, feeds))

    def _whole(self, outcome: Outcome, data: bytes, top: int) -> None:
        begin = time.monotonic()
        outcome.labels = self.model.classify(data, top=top).labels
        outcome.timing.compute = time.monotonic() - begin
        self._seen(outcome.timing, True)

    def _finished(self, outcome: Outcome, passed: Future[Passed] | None, top: int) -> Outcome:
        if passed is not None:
            found = self._awaited(passed)
            outcome.timing.queue += found.queue
            outcome.timing.compute = found.compute
            row = probabilities_of(np.asarray(found.value)[None], self.model.require_card())[0]
            outcome.labels = self.model.name_scores(row, top).labels
            self._seen(outcome.timing, True)
        return outcome

    @staticmethod
    def _awaited(passed: Future[Passed]) -> Passed:
        try:
            return passed.result()
        except CancelledError:
            raise Refused(499, "gone", "the client has gone") from None


def _parts(call: Call, feeds: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """The batch that the graph states, or 8, 4, 2 and 1 images, so that there are few sizes that a plan is compiled for."""
    ((name, images),) = feeds.items()
    fixed = (call.inputs[name].shape or (None,))[0]
    at = 0
    while at < len(images):
        step = fixed or 1 << (min(len(images) - at, 8).bit_length() - 1)
        yield {name: images[at : at + step]}
        at += step


def _in_rows(call: Call, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """A signature's outputs; one whose only input is a single value is called for each of a list of them."""
    tensors = list(call.inputs.values())
    if len(tensors) != 1 or tensors[0].shape != () or not (value := next(iter(feeds.values()))).ndim:
        return call.run(feeds)
    rows = [call.run(dict.fromkeys(feeds, item)) for item in value.ravel()]
    return {
        name: np.concatenate([row[name].reshape(1, -1) if row[name].ndim < 2 else row[name] for row in rows])
        for name in rows[0]
    }


def pixels_of(data: bytes, limit: int) -> int:
    """Pixels of an image by its header, before anything is decoded; Refused 422 if they are more than ``limit``."""
    from ..vision.decode import MAX_PIXELS, image_header

    header = image_header(data, max_pixels=MAX_PIXELS)
    if header.width * header.height > limit:
        raise Refused(
            422,
            "too_many_pixels",
            f"the image has {header.width} x {header.height} pixels, the limit is {limit / 1e6:g} megapixels; send a smaller one",
        )
    return header.width * header.height
