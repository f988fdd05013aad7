"""Limits of the service, and what it shows of itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Limits of the service. Sizes in bytes, times in seconds."""

    max_image_bytes: int = 10 << 20
    #: Pixels of a decoded image: 3 bytes each, several times over while it is decoded and resized.
    max_pixels: int = 16_000_000
    queue_size: int = 64
    queue_bytes: int = 64 << 20
    workers: int = 1
    timeout: float = 15.0
    #: Bodies that are received at once; each takes up to max_image_bytes.
    uploads: int = 32
    top: int = 5
    #: Names in the header Host, besides localhost, that are answered ("*.example.org": every name below); None: any.
    allowed_hosts: tuple[str, ...] | None = None
    #: Origins of other sites whose pages may use the service ("https://example.org", "*").
    allowed_origins: tuple[str, ...] = ()
    #: Lines of the request log: off, text, json.
    log: str = "off"
