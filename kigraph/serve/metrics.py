"""Metrics for Prometheus, in a registry of the app's own so that several apps can live in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Metrics"]

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Requests by route and status, time per request, images waiting."""

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("kigraph_requests", "Requests", ["route", "status"], registry=self._registry)
        self.seconds = Histogram(
            "kigraph_request_seconds", "Time per request", ["route"], buckets=_BUCKETS, registry=self._registry
        )
        # Looking labels up takes as long as counting.
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        depth = Gauge("kigraph_images_pending", "Images waiting or being classified", registry=self._registry)
        depth.set_function(lambda: float(engine.depth))
        draining = Gauge("kigraph_draining", "1 while shutting down", registry=self._registry)
        draining.set_function(lambda: float(engine.draining))

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts an answer. route: a path of the service, or "other"."""
        known = self._known.get((route, status))
        if known is None:
            known = self.requests.labels(route, str(status or 499)), self.seconds.labels(route)
            self._known[route, status] = known
        known[0].inc()
        known[1].observe(seconds)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
