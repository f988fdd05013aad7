"""Limits of the service, and what it shows of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Limits of the service. Sizes in bytes, times in seconds."""

    max_image_bytes: int = 10 << 20
    #: Pixels of a decoded image: 3 bytes each, several times over while it is decoded and resized.
    max_pixels: int = 16_000_000
    #: Images of a request, and bytes of one with several images or with tensors.
    images: int = 32
    request_bytes: int = 40 << 20
    queue_size: int = 64
    queue_bytes: int = 64 << 20
    #: Batches that a network computes at once.
    workers: int = 1
    #: Threads that decode; None: by the CPUs.
    decoders: int | None = None
    #: Images that go through the network together at most; None: measured at the start.
    batch: int | None = None
    batch_wait: float = 0.005
    timeout: float = 15.0
    #: Bodies that are received at once; each takes up to max_image_bytes.
    uploads: int = 32
    top: int = 5
    #: Names in the header Host, besides localhost, that are answered ("*.example.org": every name below); None: any.
    allowed_hosts: tuple[str, ...] | None = None
    #: Origins of other sites whose pages may use the service ("https://example.org", "*").
    allowed_origins: tuple[str, ...] = ()
    #: What a request that loads or unloads a model has to know; None: there are no such requests.
    admin_token: str | None = None
    #: Lines of the request log: off, text, json.
    log: str = "off"

    @property
    def decoding_threads(self) -> int:
        """Threads that decode images: one for each CPU, at most 8, unless it is stated."""
        return self.decoders or min(len(os.sched_getaffinity(0)), 8)
