"""One download over HTTP: byte budget, progress, continuation after a broken connection.

A server's word is never trusted: the number of bytes is limited whatever it announces, and without a checksum in the
catalogue nothing but TLS is accepted, on every hop.
"""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from ..errors import WeightsError

__all__ = ["MAX_BYTES", "Progress", "download", "sha256_of", "store"]

#: Called with (bytes so far, bytes in total or None).
Progress: TypeAlias = "Callable[[int, int | None], None]"

#: No weight file of the catalogue is half as large.
MAX_BYTES = 2**30
_CHUNK = 2**18
_TIMEOUT_SECONDS = 30.0
_ATTEMPTS = 4
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from TLS to plain HTTP."""

    def __init__(self, tls_only: bool) -> None:
        self._tls_only = tls_only

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_scheme(newurl, self._tls_only)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, target: Path, *, size: int | None, sha256: str | None, progress: Progress | None = None) -> str:
    """Downloads ``url`` into ``target`` (overwritten) and returns the SHA-256.

    A connection that breaks is continued where it broke, if the server still has the same file. Raises WeightsError if
    the server cannot be reached, the size or checksum is wrong, or more than MAX_BYTES arrive.
    """
    tls_only = sha256 is None and urlsplit(url).hostname not in _LOOPBACK
    _check_scheme(url, tls_only)
    failure = ""
    with open(target, "wb") as file:
        transfer = _Transfer(url, file, urllib.request.build_opener(_Redirects(tls_only)), size, progress)
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(0.2 * 2**attempt, 2.0))
            try:
                expected = transfer.attempt()
                if expected is None or transfer.received >= expected:
                    break
                failure = f"the connection ended after {transfer.received:,} of {expected:,} bytes"
            except urllib.error.HTTPError as error:
                raise WeightsError(f"{url}: the server answers {error.code} {error.reason}") from None
            except (http.client.HTTPException, OSError) as error:  # URLError and TimeoutError are OSErrors
                failure = _network_reason(error)
                if not transfer.received and isinstance(error, urllib.error.URLError):
                    raise WeightsError(_unreachable(url, failure)) from None
        else:
            raise WeightsError(f"{url}: download failed {_ATTEMPTS} times: {failure}")
    return _verified(url, transfer.received, transfer.digest.hexdigest(), size, sha256)


class _Transfer:
    """What has arrived so far; each attempt goes on from there."""

    def __init__(
        self,
        url: str,
        file: IO[bytes],
        opener: urllib.request.OpenerDirector,
        size: int | None,
        progress: Progress | None,
    ) -> None:
        self._url, self._file, self._opener, self._size, self._progress = url, file, opener, size, progress
        self.received, self.digest = 0, hashlib.sha256()
        self._etag: str | None = None

    def attempt(self) -> int | None:
        """One connection, until it ends; the expected size in bytes, None if it is not announced."""
        with self._opener.open(self._request(), timeout=_TIMEOUT_SECONDS) as response:
            if self.received and response.status != 206:  # the server starts again, so we do
                self.received, self.digest = 0, hashlib.sha256()
                self._file.seek(0)
                self._file.truncate()
            elif self.received and not response.headers.get("Content-Range", "").startswith(f"bytes {self.received}-"):
                raise WeightsError(f"{self._url}: the server continues at another position than requested")
            self._etag = _strong_etag(response.headers)
            announced = _announced(response.headers, self.received)
            limit = _limit(self._url, announced, self._size)
            while chunk := response.read(_CHUNK):
                self.received += len(chunk)
                if self.received > limit:
                    raise WeightsError(f"{self._url}: sends more than the expected {limit:,} bytes")
                self.digest.update(chunk)
                store(self._file, chunk)
                if self._progress is not None:
                    self._progress(self.received, announced or self._size)
        return self._size or announced

    def _request(self) -> urllib.request.Request:
        request = urllib.request.Request(self._url, headers={"User-Agent": "kigraph", "Accept-Encoding": "identity"})
        if self.received and self._etag:
            request.add_header("Range", f"bytes={self.received}-")
            request.add_header("If-Range", self._etag)
        return request


def store(file: IO[bytes], chunk: bytes) -> None:
    """Writes; a full disk is an error of its own, not one of the source that is being read."""
    try:
        file.write(chunk)
    except OSError as error:
        raise WeightsError(f"{file.name}: cannot be written: {error.strerror}") from None


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified(url: str, received: int, digest: str, size: int | None, sha256: str | None) -> str:
    if size is not None and received != size:
        raise WeightsError(f"{url}: {received:,} bytes arrived, expected {size:,}; nothing was kept")
    if sha256 is not None and digest != sha256:
        raise WeightsError(f"{url}: wrong checksum: SHA-256 {digest}, expected {sha256}; nothing was kept")
    return digest


def _check_scheme(url: str, tls_only: bool) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in ("https", "http"):
        raise WeightsError(f"{url}: only http and https are followed")
    if tls_only and scheme != "https":
        raise WeightsError(f"{url}: refused: this file has no published checksum, so only https is accepted")


def _announced(headers: Message, received: int) -> int | None:
    text = headers.get("Content-Length", "")
    return received + int(text) if text.isdecimal() else None


def _limit(url: str, announced: int | None, size: int | None) -> int:
    if size is not None and announced is not None and announced != size:
        raise WeightsError(f"{url}: the server announces {announced:,} bytes, expected {size:,}")
    limit = size or announced or MAX_BYTES
    if limit > MAX_BYTES:
        raise WeightsError(f"{url}: {limit:,} bytes are more than {MAX_BYTES:,}, the limit for a download")
    return limit


def _strong_etag(headers: Message) -> str | None:
    etag: str | None = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else None


def _network_reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) or type(error).__name__


def _unreachable(url: str, reason: str) -> str:
    host = urlsplit(url).hostname
    return (
        f"cannot reach {host}: {reason}. Without a network: copy the file here by other means and pass "
        "--weights PATH, or set KIGRAPH_WEIGHTS=PATH"
    )
