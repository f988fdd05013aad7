"""Metrics for Prometheus, in a registry of the app's own so that several apps can live in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from .batching import Choice
    from .engine import Engine
    from .work import Timing

__all__ = ["Metrics", "Watched"]

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_STAGES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_OF_MODEL = ["model", "version"]


class Watched(Protocol):
    """What is shown of a model."""

    name: str
    version: str
    identity: dict[str, Any]
    choice: Choice
    engine: Engine


class Metrics:
    """Requests by route and status, time per request; of each model its images, where their time goes, its batches and its queue."""

    def __init__(self, models: Callable[[], Iterable[Watched]]) -> None:
        """models: gives the models that are loaded."""
        self._registry = own = CollectorRegistry()
        self.requests = Counter("kigraph_requests", "Requests", ["route", "status"], registry=own)
        self.seconds = Histogram(
            "kigraph_request_seconds", "Time per request", ["route"], buckets=_BUCKETS, registry=own
        )
        self.images = Counter(
            "kigraph_model_images", "Images (and calls with tensors) by outcome", [*_OF_MODEL, "outcome"], registry=own
        )
        self.stages = Histogram(
            "kigraph_model_seconds", "Time of an image: decode, queue, compute", [*_OF_MODEL, "stage"], buckets=_STAGES, registry=own
        )  # fmt: skip
        self.batches = Histogram(
            "kigraph_model_batch_images", "Images that went through the network together", _OF_MODEL,
            buckets=(1, 2, 4, 8, 16, 32, 64), registry=own,
        )  # fmt: skip
        own.register(_Gauges(models))
        # Looking labels up takes as long as counting.
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts an answer. route: a path of the service, or "other"."""
        known = self._known.get((route, status))
        if known is None:
            known = self.requests.labels(route, str(status or 499)), self.seconds.labels(route)
            self._known[route, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def watch(self, name: str, version: str) -> tuple[Callable[[Timing, bool], None], Callable[[float, int], None]]:
        """What a model tells: (the timing of an image and whether it was answered; the seconds and images of a batch)."""
        stages = {stage: self.stages.labels(name, version, stage) for stage in ("decode", "queue", "compute")}
        good, bad = (self.images.labels(name, version, outcome) for outcome in ("answered", "refused"))
        batches = self.batches.labels(name, version)

        def image(timing: Timing, answered: bool) -> None:
            (good if answered else bad).inc()
            if answered:
                for stage, histogram in stages.items():
                    histogram.observe(getattr(timing, stage))

        return image, lambda seconds, count: batches.observe(count)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)


class _Gauges(Collector):
    """What is so now, of each model that is loaded."""

    def __init__(self, models: Callable[[], Iterable[Watched]]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        served = list(self._models())
        yield GaugeMetricFamily(
            "kigraph_images_pending", "Images waiting or being classified", sum(m.engine.depth for m in served)
        )
        draining = bool(served) and all(m.engine.draining for m in served)
        yield GaugeMetricFamily("kigraph_draining", "1 while shutting down", float(draining))
        pending = GaugeMetricFamily("kigraph_model_pending", "Images waiting or being classified", labels=_OF_MODEL)
        limit = GaugeMetricFamily(
            "kigraph_model_batch_limit", "Images that go through the network together at most, and why", labels=[*_OF_MODEL, "reason"]
        )  # fmt: skip
        info = GaugeMetricFamily(
            "kigraph_model_info", "1 for each model that is loaded", labels=[*_OF_MODEL, "id", "labelled", "precision"]
        )
        for model in served:
            key = [model.name, model.version]
            pending.add_metric(key, float(model.engine.depth))
            limit.add_metric([*key, model.choice.reason], float(model.choice.batch))
            known = model.identity
            info.add_metric([*key, known["id"], str(known["labelled"]).lower(), known["precision"]], 1.0)
        yield from (pending, limit, info)
