"""The settings of `kigraph serve`: environment variables that are also its flags."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .setting import Setting, at_least, filled, one_of, switch

__all__ = ["SERVE"]


def _number_or_auto(low: int, high: int) -> Callable[[str], str]:
    number = at_least(low, high)

    def parse(text: str) -> str:
        if text != "auto":
            try:
                number(text)
            except ValueError as error:
                raise ValueError(f"{error}, or auto") from None
        return text

    return parse


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip().lower())))
    if not names or any(c.isspace() for name in names for c in name):
        raise ValueError("expected names with commas between them")
    return names


_HOST_NAME = re.compile(r"\[[0-9a-f:.]+\]|[a-z0-9._-]+")
_ORIGIN = re.compile(r"(https?)://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")


def _hosts(text: str) -> tuple[str, ...]:
    names = _names(text)
    for name in names:
        if name != "*" and not _HOST_NAME.fullmatch(name.removeprefix("*.")):
            raise ValueError(
                "expected names or addresses, without scheme, port or path, IPv6 in brackets "
                f"(example.org, *.example.org, [::1]), got {name!r}, which no Host matches"
            )
    return names


def _origins(text: str) -> tuple[str, ...]:
    names = _names(text)
    for name in names:
        found = _ORIGIN.fullmatch(name)
        if name != "*" and (found is None or found[2] == {"http": "80", "https": "443"}[found[1]]):
            raise ValueError(
                "expected origins such as https://example.org, without a path, user, wildcard or the scheme's own port, "
                f"got {name!r}, which no browser sends"
            )
    return names


_LOGS = ("off", "text", "json")
#: The settings of `kigraph serve`; each is also a flag: KIGRAPH_SERVE_MAX_IMAGE_MB is --max-image-mb.
SERVE: tuple[Setting[Any], ...] = (
    Setting("KIGRAPH_SERVE_HOST", "127.0.0.1", filled, "address that the service listens on; in a container: 0.0.0.0"),
    Setting("KIGRAPH_SERVE_PORT", 8080, at_least(0, 65535), "port of the service; 0: any free one"),
    Setting("KIGRAPH_SERVE_WORKERS", 1, at_least(1, 64), "images that the service classifies at once"),
    Setting(
        "KIGRAPH_SERVE_DECODERS",
        "auto",
        _number_or_auto(1, 256),
        "threads that decode images beside the network; auto: by the CPUs",
    ),
    Setting(
        "KIGRAPH_SERVE_BATCH",
        "auto",
        _number_or_auto(1, 64),
        "images that go through the network together at most; auto: measured for each model at the start",
    ),
    Setting(
        "KIGRAPH_SERVE_BATCH_WAIT",
        5,
        at_least(0, 1000),
        "milliseconds that an image waits for others that are being decoded, to fill a batch",
    ),
    Setting("KIGRAPH_SERVE_QUEUE", 64, at_least(1, 100_000), "images that may wait in the service"),
    Setting("KIGRAPH_SERVE_TIMEOUT", 15, at_least(1, 3600), "seconds for an answer of the service"),
    Setting("KIGRAPH_SERVE_MAX_IMAGE_MB", 10, at_least(1, 128), "MiB of an image file that is sent to the service"),
    Setting("KIGRAPH_SERVE_MAX_IMAGES", 32, at_least(1, 1024), "images of one request to the service"),
    Setting(
        "KIGRAPH_SERVE_MAX_REQUEST_MB", 40, at_least(1, 1024), "MiB of a request with several images or with tensors"
    ),
    Setting(
        "KIGRAPH_SERVE_MAX_MEGAPIXELS", 16, at_least(1, 50), "million pixels of an image that is sent to the service"
    ),
    Setting(
        "KIGRAPH_SERVE_MAX_CONNECTIONS",
        None,
        at_least(1, 100_000),
        "connections that the service holds at once; default: 2048, or fewer where the limit on open files is low",
    ),
    Setting("KIGRAPH_SERVE_LOG", "off", one_of(*_LOGS), "a line for each request on standard output", _LOGS),
    Setting(
        "KIGRAPH_SERVE_ALLOWED_HOSTS",
        None,
        _hosts,
        "names, with commas between them, that the service answers to besides localhost; *.example.org: all below it; *: any; "
        "default: localhost if the service listens on a loopback address, else any",
    ),
    Setting(
        "KIGRAPH_SERVE_ALLOWED_ORIGINS",
        None,
        _origins,
        "origins, with commas between them, whose pages may use the service from a browser (https://example.org); default: "
        "the service's own",
    ),
    Setting(
        "KIGRAPH_SERVE_MODELS", None, filled, "folder with models, or TOML file that lists them, in place of one model"
    ),
    Setting(
        "KIGRAPH_SERVE_ADMIN_TOKEN_FILE",
        None,
        filled,
        "file with the token (Authorization: Bearer ...) of requests that load and unload models; default: there are no such requests",
    ),
    Setting("KIGRAPH_SERVE_LABELS", None, str, "label file or label set of the service's model"),
    Setting("KIGRAPH_SERVE_CARD", None, str, "weights card of the service's model"),
    Setting(
        "KIGRAPH_SERVE_NO_DOWNLOAD", False, switch, "1: the service fails instead of downloading weights", ("0", "1")
    ),
)
