"""The models of a service: each with a queue and threads of its own, so that a slow one delays no other."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classifier import Classifier
from ..errors import KigraphError
from ..graph.formats.source import Source
from .batching import Choice, choose_batch
from .bodies import Body, extract
from .engine import Engine
from .errors import Refused
from .memory import PixelBudget, release
from .network import Network
from .work import Work

if TYPE_CHECKING:
    from .metrics import Metrics
    from .model_list import ModelSpec
    from .options import Options

__all__ = ["Models", "Served", "model_identity", "of_options", "version_order"]

_LOG = logging.getLogger("kigraph.serve")


class Served:
    """One model. ``problem``: why it is not ready, None if it is; ``choice``: its largest batch, and why."""

    def __init__(
        self, model: Classifier, options: Options, metrics: Metrics, budget: PixelBudget, name: str = "", version: str = "1"
    ) -> None:  # fmt: skip
        self.model, self.options = model, options
        self.identity = model_identity(model, name, version)
        self.name, self.version = str(self.identity["name"]), version
        #: What every answer of the model has in its head.
        self.headers = {"X-Model-Name": self.name, "X-Model-Version": version, "X-Model-Id": self.identity["id"],
                        "X-Model-Precision": self.identity["precision"]}  # fmt: skip
        self.choice = Choice(1, "not measured")
        self.problem: str | None = "starting"
        image, batch = metrics.watch(self.name, version)
        self.network: Network | None = None
        workers = options.workers
        if isinstance(model, Classifier) and model.require_card().encoded is None:
            self.network = Network(self._compute, lanes=workers, wait=options.batch_wait, seen=batch)
            workers += options.decoding_threads
        self.work = Work(model, options, budget, self.network, image)
        self.engine = Engine(
            self.work, workers=workers, queue_size=options.queue_size, queue_bytes=options.queue_bytes, lanes=options.workers,
            pace=self.work.pace if self.network is not None else None,
        )  # fmt: skip
        self.work.engine = self.engine

    def _compute(self, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Prepared images to rows of raw scores."""
        card = self.model.require_card()
        scores = np.asarray(self.model.session.run(card.output, {card.input: images}))
        return scores.reshape(len(images), -1)

    async def start(self, canary: bytes) -> None:
        """Warms up in a worker, so that the first request finds compiled plans, measures the batch, and times a second run."""
        if self.network is not None:
            self.network.start()
        self.engine.start()
        try:
            for _ in range(2):
                body = Body("image/jpeg", "", "", len(canary), data=bytearray(canary))
                start = time.monotonic()
                job = self.engine.submit(
                    lambda work, body=body: work.images(extract(body).images, 1), len(canary), 300.0
                )
                (outcome,) = await self.engine.result(job)
                if outcome.error is not None:
                    raise outcome.error
                self.engine.estimate.reset(time.monotonic() - start)
            if self.network is not None:
                self.choice = await asyncio.to_thread(choose_batch, self.model, self.options.batch)
                self.network.batch = self.choice.batch
                self.engine.widen(self.options.workers * self.choice.batch + self.options.decoding_threads)
            elif isinstance(self.model, Classifier):
                self.choice = await asyncio.to_thread(choose_batch, self.model, None)
            _LOG.info("%s: at most %d images together (%s)", self.name, self.choice.batch, self.choice.reason)
            self.problem = None
        except Exception:
            _LOG.exception("the canary image failed")
            self.problem = "the canary image failed"

    def stop(self, seconds: float) -> bool:
        """Refuses new requests, answers those that were accepted, and ends the threads; False if one is not done in time."""
        done = self.engine.stop(seconds)
        return (self.network is None or self.network.stop(seconds)) and done


class Models:
    """The models by name and version. The first one that was added is the default.

    specs: what may be loaded; make: opens a model, ready to be started.
    """

    def __init__(self, specs: Iterable[ModelSpec] = (), make: Callable[[ModelSpec], Served] | None = None) -> None:
        self._specs = {(spec.name, spec.version): spec for spec in specs}
        self._make = make
        self._loaded: dict[tuple[str, str], Served] = {}
        #: Why a model is not there, for those that are being loaded or failed.
        self._states: dict[tuple[str, str], str] = {}
        self._changing = asyncio.Lock()
        self._default, self._draining = "", False

    def __iter__(self) -> Iterator[Served]:
        return iter(list(self._loaded.values()))

    def __len__(self) -> int:
        return len(self._loaded)

    @property
    def default(self) -> Served:
        """The model of the routes that name none."""
        return self.get(self._default, None)

    @property
    def listed(self) -> list[tuple[str, str, str, str]]:
        """(name, version, state, reason) of every model that is loaded or may be; the state is READY, LOADING or UNAVAILABLE."""
        found = []
        for key in sorted({*self._specs, *self._loaded}, key=lambda k: (k[0], version_order(k[1]))):
            served = self._loaded.get(key)
            reason = self._states.get(key, "" if served is not None else "not loaded")
            if served is not None and served.problem is not None:
                reason = served.problem
            state = (
                "READY"
                if served is not None and served.problem is None
                else "LOADING"
                if reason == "loading"
                else "UNAVAILABLE"
            )
            found.append((*key, state, "" if state == "READY" else reason))
        return found

    def add(self, served: Served) -> None:
        """Makes a model known, in place of one of the same name and version."""
        self._default = self._default or served.name
        self._loaded[served.name, served.version] = served

    def versions(self, name: str) -> list[Served]:
        """The versions of a model that are loaded, the latest first."""
        found = [served for (known, _), served in self._loaded.items() if known == name]
        return sorted(found, key=lambda served: version_order(served.version), reverse=True)

    def get(self, name: str, version: str | None) -> Served:
        """A model, the latest version by default; Refused 404 if it is not loaded."""
        found = [served for served in self.versions(name) if version in (None, served.version)]
        if found:
            return found[0]
        shown = "".join(c for c in name[:64] if c.isprintable())
        which = f"{shown!r}" + (f" version {version[:32]!r}" if version else "")
        if any(name == known and version in (None, v) for known, v in self._specs):
            raise Refused(404, "not_loaded", f"the model {which} is not loaded")
        known_names = ", ".join(dict.fromkeys(served.name for served in self)) or "none"
        raise Refused(404, "unknown_model", f"there is no model {which}; loaded: {known_names[:500]}")

    async def load(self, name: str, canary: bytes) -> None:
        """Loads the latest listed version of a model, or loads it anew; requests go on meanwhile. Refused if that fails."""
        keys = sorted((k for k in self._specs if k[0] == name), key=lambda k: version_order(k[1]))
        if not keys or self._make is None:
            self.get(name, "?")
        async with self._changing:
            key = keys[-1]
            self._states[key] = "loading"
            try:
                served = await asyncio.to_thread(self._make, self._specs[key])  # type: ignore[arg-type]
                await served.start(canary)
                if served.problem is not None:
                    await asyncio.to_thread(served.stop, 5.0)
                    raise KigraphError(served.problem)
            except Exception as error:
                expected = isinstance(error, KigraphError | OSError)
                _LOG.error("model %s version %s was not loaded: %s", *key, error, exc_info=not expected)
                self._states[key] = "loading failed; see the service's log"
                raise Refused(
                    409, "load_failed", f"the model {name[:64]!r} was not loaded; see the service's log"
                ) from None
            before = self._loaded.get(key)
            self.add(served)
            if self._draining:
                served.engine.drain()
            self._states.pop(key, None)
        if before is not None:
            retiring, before = self._retire(before), None
            await retiring

    async def unload(self, name: str) -> None:
        """Takes every version of a model away: what was accepted is answered, then its memory is given back."""
        self.get(name, None)
        async with self._changing:
            for key in [key for key in self._loaded if key[0] == name]:
                await self._retire(self._loaded.pop(key))

    async def _retire(self, served: Served) -> None:
        seconds = served.options.timeout + 5.0
        served.engine.retire()
        if not await asyncio.to_thread(served.stop, seconds):
            _LOG.error("model %s: a request was not done within %g s", served.name, seconds)
        served.engine.forget()
        del served  # the last reference from here
        await asyncio.to_thread(_collect)

    def drain(self) -> None:
        """Refuses new requests to every model; accepted ones are still answered."""
        self._draining = True
        for served in self:
            served.engine.drain()

    def stop(self, seconds: float) -> None:
        """Ends the threads of all models, which have answered what they accepted."""
        end = time.monotonic() + seconds
        for served in self:
            served.stop(max(0.1, end - time.monotonic()))


def _collect() -> None:
    gc.collect()
    release()


def version_order(version: str) -> tuple[int, str]:
    """A key that sorts versions: numbers by value, after words."""
    return (int(version), "") if version.isascii() and version.isdecimal() else (-1, version)


def model_identity(model: Any, name: str = "", version: str = "1") -> dict[str, Any]:
    """What a client may know of a model: its name (default: that of its file), its version, the beginning of the SHA-256 of its
    file ("" where there is no single file), whether its classes have names, and in which precision it answers."""
    path = getattr(model, "path", None)
    digest = Source(path).remembered_sha256[:12] if path is not None and path.is_file() else ""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name or model.name)[:64].strip(".")
    precision = getattr(getattr(model, "session", None), "precision", "unknown")
    known = {"name": plain or "model", "version": version, "id": digest, "labelled": model.labelled}
    return known | {"precision": precision}


def of_options(options: Options, spec: ModelSpec) -> Options:
    """The options of a model: those of the service, with what its entry states instead."""
    stated: dict[str, Any] = {
        "workers": spec.workers,
        "queue_size": spec.queue,
        "batch": spec.batch,
        "decoders": spec.decoders,
    }
    if spec.batch_wait_ms is not None:
        stated["batch_wait"] = spec.batch_wait_ms / 1000
    return replace(options, **{name: value for name, value in stated.items() if value is not None})
