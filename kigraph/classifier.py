"""A trained model, ready to answer: ``load`` finds the format, the card and the labels; ``Classifier.classify`` does the rest."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .answers import Classified, Prediction
from .calling import Call, array_of, calls_of
from .errors import CardError, FeedError, GraphError, ImageError, LoadError, RunError
from .graph.builder import Graph, Tensor
from .graph.hints import ends_text, shown
from .graph.session import Session
from .graph.signatures import SERVING_DEFAULT
from .kernels.logs import follow_setting
from .kernels.settings import warn_of_unknown_names
from .kernels.tensor import is_int
from .notebook import model_html
from .opening import card_for, open_file
from .vision.decode import MAX_PIXELS, ImageLike, apply_orientation, decode_image, image_header, read_image, to_pixels
from .vision.labels import LabelSet, numbered
from .weights.cards import CARDS, Card
from .weights.catalogue import CATALOGUE, DEMO
from .weights.labels import check_count, find_labels
from .weights.scores import check_classifies, check_numbers, probabilities_of
from .weights.store import EMBEDDED

if TYPE_CHECKING:
    from .graph.loaders import LoadLimits
    from .graph.models.torch import Architecture
    from .graph.plan import Plan

__all__ = ["Classified", "Classifier", "Prediction", "load"]

_LOG = logging.getLogger("kigraph")

#: Images that go through the network together; more would only cost memory.
_BATCH = 8


def load(
    path: str | os.PathLike[str],
    *,
    backend: str | None = None,
    threads: int | None = None,
    labels: str | os.PathLike[str] | LabelSet | Sequence[str] | None = None,
    card: Card | str | os.PathLike[str] | None = None,
    changes: Mapping[str, Any] | None = None,
    architecture: Architecture | None = None,
    limits: LoadLimits | None = None,
    tune: str | None = None,
    winograd: bool | None = None,
    precision: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Classifier:
    """Loads a trained model of any supported format; the format is recognised by the file's content.

    path: a file. Names ("demo", those of the catalogue) are for the command line; ``ki.weights.resolve_weights("demo").path``
    is the file of one.
    backend, threads, tune, winograd, precision: as for Session.
    labels: a label file, the name of a label set, or the names themselves; default: what the card says.
    card: a Card, the name of one, or a JSON file that `kigraph card` wrote; default: model.card.json beside the file if it is
    for it, else chosen by the file's checksum, family or nodes, else what the graph itself shows, with the rest assumed (its
    ``note`` says what).
    changes: what of the card is otherwise: a dict of input, output, size (height, width), mean, std (three numbers, for pixels
    from 0 to 255), rule (of resizing), channels (RGB, BGR, L), layout (NHWC, NCHW), scores.
    architecture: which network weights alone are of, where their arrays do not tell: a name of timm or torchvision, with what is
    in no array ("timm/tf_efficientnet_b0", "vit heads=4", "mobilenet_v2 strides=1,2,1"), or a function from ``graph.models.torch.Net``,
    whose layers are found by name, to the output (docs/model-files.md).
    limits: what the file may ask for.
    max_pixels: larger images are refused by their header, before they are decoded.
    Raises LoadError for a damaged or unknown file, CardError, LabelError, BackendError. A model without a known card loads,
    and only ``classify`` raises; one without labels answers "class 0", "class 1", ..., and warns of that once.
    """
    follow_setting()
    warn_of_unknown_names()
    path = _file(path)
    opened = open_file(path, limits, strict=True, architecture=architecture)
    graph = opened.graph
    assert graph is not None
    chosen = card_for(opened, card, changes)
    session = Session(graph, backend, threads, tune=tune, winograd=winograd, precision=precision)
    found, rejected = find_labels(graph, chosen, labels, path)
    model = Classifier(graph, session, chosen, found, path, rejected, max_pixels=max_pixels)
    _LOG.info("loaded %s: %r", path, model)
    return model


def _file(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise LoadError(f"load takes the path of a model file, got {type(path).__name__} {shown(path)}")
    if isinstance(path, str) and (path == DEMO or path in (e.name for e in CATALOGUE)) and not os.path.exists(path):
        raise LoadError(
            f"there is no file {path!r}; the name is one of the command line's, and in Python "
            f"ki.weights.resolve_weights({path!r}).path is its file"
        )
    return Path(path)


class Classifier:
    """A graph with its session, weights card and labels. Safe to use from several threads at once.

    ``rejected``: a label file that was found beside the model and does not fit it, in words.
    """

    def __init__(
        self,
        graph: Graph,
        session: Session,
        card: Card | None,
        labels: LabelSet | None,
        path: Path | None = None,
        rejected: str = "",
        *,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.graph, self.session, self.card, self.labels, self.path = graph, session, card, labels, path
        if not isinstance(max_pixels, int) or max_pixels < 1:
            raise FeedError(f"max_pixels must be a whole number of at least 1, got {max_pixels!r}")
        #: Larger images are refused; may be set at any time.
        self.max_pixels = max_pixels
        self._rejected = rejected
        self._calls: dict[str, Call] | None = None
        self._unlabelled = threading.Lock()  # taken, and never given back, by the first answer without labels
        if card is not None:
            try:
                for tensor in card.tensors:
                    graph.tensor(tensor)  # an unknown name is an error now, not at the first image
            except GraphError as error:
                raise CardError(f"card {card.name!r} does not fit this graph: {error}") from None
            if labels is not None:
                check_count(graph, card, labels)

    @property
    def name(self) -> str:
        """What answers are signed with: the name of the file, or 'demo' for the model that comes with kigraph."""
        if self.path is None:
            return "a graph"
        return DEMO if self.path == EMBEDDED else self.path.name

    @property
    def labelled(self) -> bool:
        """Whether the classes have names; if not, answers are 'class 0', 'class 1', ..."""
        return self.labels is not None

    @property
    def label_source(self) -> str | None:
        """Where the names of the classes are from: a file's name, a label set, 'embedded' or 'given'; None without any."""
        return self.labels.name if self.labels is not None else None

    @property
    def label_note(self) -> str:
        """What to tell a user of a model without labels, in one line; '' if it has some."""
        if self.labels is not None:
            return ""
        stem = f"{self.path.stem}_labels.txt or " if self.path else ""
        found = f" ({self._rejected})" if self._rejected else ""
        return (
            f"{self.name} has no labels{found}, so answers are 'class 0', 'class 1', ...; put {stem}labels.txt beside the "
            "model, one name per line, or pass the names (labels=, or --labels FILE)"
        )

    @overload
    def classify(self, images: ImageLike, top: int = 5) -> Prediction: ...
    @overload
    def classify(self, images: list[Any] | tuple[Any, ...], top: int = 5) -> list[Prediction]: ...

    def classify(self, images: ImageLike | list[Any] | tuple[Any, ...], top: int = 5) -> Prediction | list[Prediction]:
        """The ``top`` most probable labels of an image, or a list of answers for a list of images.

        An image is a path, the bytes of an image file, a Pillow image, or uint8 pixels (height, width, 3). The answer for an
        image does not depend on the others of a list. Raises ImageError for an image that cannot be read.
        """
        _check_top(top)
        if not isinstance(images, list | tuple):
            return self._classify([images], top)[0]
        return self._classify(images, top)

    def classify_many(
        self, images: Iterable[ImageLike], top: int = 5, *, batch: int | None = None, workers: int | None = None
    ) -> Iterator[Classified]:
        """The answer for each of any number of images, in their order: the fast way for many files.

        They are read and decoded in ``workers`` threads (default: one for each CPU; where images go through the network one by
        one on all CPUs, these threads only read, and those of the network decode). ``batch`` images (default 8, or what the
        graph takes) go through the network together, and on a CPU several batches side by side, one for each of the model's
        threads. An answer has the same bits as that of ``classify``. An image that cannot be read is an answer with an
        ``error``. Closing the iterator stops the threads. Raises FeedError for wrong numbers.
        """
        from .many import stream

        _check_top(top)
        for image, row, error in stream(self, images, batch, workers):
            name = _source(image)
            prediction = None
            if row is not None:
                try:
                    prediction = self.name_scores(row, top, name)
                except RunError as not_numbers:
                    error = not_numbers
            yield Classified(name, prediction, error)

    def probabilities(self, images: Sequence[ImageLike]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """All scores of a list of images as probabilities, float32 (images, classes)."""
        card = self.require_card()
        check_classifies(self.graph.tensor(card.output).shape, card)
        if card.encoded is not None:
            rows = [self._run_encoded(card, image) for image in images]
        else:
            rows = []
            for start in range(0, len(images), _BATCH):
                rows.append(self._scores(self.prepare(images[start : start + _BATCH])))
        if not rows:
            return np.zeros((0, len(self.labels) if self.labels else 0), np.float32)
        return probabilities_of(np.concatenate(rows), card)

    def prepare(self, images: Sequence[ImageLike]) -> np.ndarray[Any, Any]:
        """What the card's input takes for some images: preprocessed, in its layout and element type."""
        card = self.require_card()
        rule = card.preprocessing
        batch = np.empty((len(images), *rule.size, 1 if rule.channels == "L" else 3), np.float32)
        for image, row in zip(images, batch, strict=True):
            rule(to_pixels(image, max_pixels=self.max_pixels), row)
        return card.arrange(batch, self.graph.tensor(card.input).dtype)

    def noise(self, batch: int) -> np.ndarray[Any, Any]:
        """Random values for the card's input, for timing: float32 from -1 to 1, or whole numbers from 0 to 127."""
        values = np.random.default_rng(0).uniform(-1, 1, (batch, *self.image_shape)).astype(np.float32)
        dtype = self.graph.tensor(self.require_card().input).dtype
        return (np.abs(values) * 127).astype(dtype) if is_int(dtype) else values

    @property
    def signatures(self) -> dict[str, Call]:
        """How the file says that it is called, by name: ``model.signatures["serving_default"](x=array)`` gives a dict."""
        if self._calls is None:
            card = self.card
            ends = ((card.input,), (card.output,)) if card is not None else ((), ())
            self._calls = calls_of(self.session, *ends)
        return self._calls

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What ``predict`` takes: the file's name of each input -> its tensor (``dtype``, ``shape``)."""
        return self.signatures[SERVING_DEFAULT].inputs

    @property
    def outputs(self) -> dict[str, Tensor]:
        """What ``predict`` gives: the file's name of each output -> its tensor."""
        return self.signatures[SERVING_DEFAULT].outputs

    def predict(self, x: Any) -> Any:
        """The model's raw output: an array, or a dict by output name where it has several.

        x: an array in the layout of the file, or a dict of arrays by input name. A model that the file describes as one with
        named inputs is called by these; else the card's input is fed and its output fetched. A fixed batch is run in parts.
        """
        if not self.graph.signatures and self.card is not None and not isinstance(x, Mapping):
            return self._scores(x)
        found = self.signatures[SERVING_DEFAULT].run(x)
        return next(iter(found.values())) if len(found) == 1 else found

    def _scores(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The card's output for preprocessed images: float32 (n, height, width, 3) -> (n, classes)."""
        card = self.require_card()
        batch = array_of(batch, "the batch")
        if batch.ndim != 4:
            axes = "channels, height, width" if card.layout == "NCHW" else "height, width, channels"
            raise FeedError(f"predict takes a batch (images, {axes}), got shape {batch.shape}")
        fixed = self.fixed_batch
        if fixed is None or fixed == len(batch):
            return np.asarray(self.session.run(card.output, {card.input: batch}))
        if len(batch) % fixed:
            raise FeedError(f"the graph takes {fixed} images at once, got {len(batch)}, which is no multiple")
        parts = [self.session.run(card.output, {card.input: batch[i : i + fixed]}) for i in range(0, len(batch), fixed)]
        return np.concatenate(parts)

    def plan(self) -> Plan:
        """The compiled plan for one image."""
        card = self.require_card()
        if card.encoded is not None:
            return self.session.plan(card.output, {card.encoded: _tiny_jpeg()})
        images = np.zeros((self.fixed_batch or 1, *self.image_shape), self.graph.tensor(card.input).dtype)
        return self.session.plan(card.output, {card.input: images})

    def explain(self) -> str:
        """The plan for one image: which kernel runs each node, and why not another."""
        return self.plan().explain()

    def __repr__(self) -> str:
        card = self.card.name if self.card else "no card"
        labels = f"{len(self.labels)} labels" if self.labels else "no labels"
        return f"<Classifier {self.name}: {card}, {len(self.graph)} operations, {labels}>"

    def _repr_html_(self) -> str:
        labels = self.label_note or f"{len(self.labels or ())}, from {self.label_source}"
        session = f"{self.session.choice}, {self.session.threads} threads, {self.session.precision}"
        rows = (("labels", labels), ("graph", f"{len(self.graph):,} operations"), ("runs on", session))
        return model_html(self.name, self.card, rows)

    def require_card(self) -> Card:
        """The weights card; CardError if none is known."""
        if self.card is None:
            raise CardError(
                f"{self!r}: no weights card is known for this graph ({ends_text(self.graph.freeze())}), so what is an image's input and "
                "what its scores is not known either. From a shell say it with --input NAME --output NAME --size HxW --mean M --std S, or "
                f"with --card, if the graph is of one's kind: {', '.join(rule.name for rule in CARDS)}. From Python: ki.load(FILE, labels=[...], "
                "card=ki.Card('mine', 'my network', INPUT, OUTPUT, ki.Preprocessing((HEIGHT, WIDTH), 'half_pixel', "
                "ki.Normalization((MEAN,) * 3, (STD,) * 3)), 'file')), or run the graph as it is: "
                "model.session.run(OUTPUT, {INPUT: array})"
            )
        return self.card

    @property
    def fixed_batch(self) -> int | None:
        """How many images the graph takes at once if it states that, else None."""
        card = self.require_card()
        # A graph that decodes JPEG takes one image: its classifier reshapes to [1, 2048].
        if card.encoded is not None:
            return 1
        shape = self.graph.tensor(card.input).shape
        return shape[0] if shape else None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """One preprocessed image in the card's layout, as the graph states it, else as the card does."""
        card = self.require_card()
        stated = (self.graph.tensor(card.input).shape or ())[1:]
        (height, width), channels = card.preprocessing.size, 1 if card.preprocessing.channels == "L" else 3
        own = (channels, height, width) if card.layout == "NCHW" else (height, width, channels)
        first, second, third = (a or b for a, b in zip(stated, own, strict=True)) if len(stated) == 3 else own
        return (first, second, third)

    def name_scores(self, scores: np.ndarray[Any, Any], top: int = 5, source: str = "") -> Prediction:
        """The labels of one row of ``probabilities``, RunError for NaN; a model without labels logs a warning once."""
        check_numbers(scores, source)
        if self.labels is None and self._unlabelled.acquire(blocking=False):
            _LOG.warning("%s", self.label_note)
        return Prediction(source, (self.labels or numbered(len(scores))).top(scores, top))

    def _classify(self, images: Sequence[ImageLike], top: int) -> list[Prediction]:
        scores = self.probabilities(images)
        return [self.name_scores(row, top, _source(i)) for i, row in zip(images, scores, strict=True)]

    def _run_encoded(self, card: Card, image: ImageLike, name: str = "") -> np.ndarray[Any, Any]:
        """One image through a graph that decodes JPEG itself.

        An upright JPEG goes in as it is, so the result is what TensorFlow gives. A rotated one is decoded by the graph,
        rotated, and fed as the decoder's output; anything else is decoded here.
        """
        assert card.encoded is not None
        assert card.pixels is not None
        limit = self.max_pixels
        if not isinstance(image, str | os.PathLike | bytes | bytearray | memoryview):
            return np.asarray(self.session.run(card.output, {card.pixels: to_pixels(image, max_pixels=limit)}))
        name = name or _source(image)
        data = read_image(image) if isinstance(image, str | os.PathLike) else bytes(image)
        header = image_header(data, name=name, max_pixels=limit)
        try:
            if header.format != "JPEG":
                pixels = decode_image(data, name=name, max_pixels=limit)
                return np.asarray(self.session.run(card.output, {card.pixels: pixels}))
            if header.orientation == 1:
                return np.asarray(self.session.run(card.output, {card.encoded: data}))
            stored = np.asarray(self.session.run(card.pixels, {card.encoded: data}))
        except ImageError as error:
            raise error if name in str(error) else ImageError(f"{name}: {error}") from None
        return np.asarray(self.session.run(card.output, {card.pixels: apply_orientation(stored, header.orientation)}))


def _check_top(top: int) -> None:
    if not isinstance(top, int) or top < 1:
        raise FeedError(f"top must be a whole number of at least 1, got {top!r}")


def _source(image: ImageLike) -> str:
    if isinstance(image, str | os.PathLike):
        return os.fspath(image)
    return getattr(image, "filename", "") or f"<{type(image).__name__}>"


def _tiny_jpeg() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    return buffer.getvalue()
