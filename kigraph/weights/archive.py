"""Takes one named file out of a .tar.gz, and nothing else: no other member is written, linked or even named."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WeightsError
from ..kernels.atomic_files import open_regular
from .transfer import store

if TYPE_CHECKING:
    import tarfile

__all__ = ["MAX_MEMBERS", "MAX_UNPACKED", "extract_member"]

MAX_MEMBERS = 256
#: Bytes that may be unpacked before the member, and the largest member.
MAX_UNPACKED = 2**30
_CHUNK = 2**20
#: Bytes of a header's extension (long names, attributes), which tarfile holds in memory.
_MAX_EXTENSION = 2**20


def extract_member(archive: Path, member: str, target: Path, *, size: int | None = None) -> int:
    """Writes the regular file ``member`` of ``archive`` to ``target``; returns its size in bytes.

    A leading "./" in the archive is ignored. Raises WeightsError if the archive is damaged, has no such regular file, or
    would unpack more than MAX_UNPACKED bytes; ``target`` may then be incomplete.
    """
    import tarfile

    seen = unpacked = 0
    try:
        with (
            open_regular(archive) as file,
            tarfile.open(fileobj=file, mode="r|gz", tarinfo=_bounded_headers()) as tar,
        ):
            for info in tar:
                seen += 1
                unpacked += max(info.size, 0)
                if seen > MAX_MEMBERS or unpacked > MAX_UNPACKED:
                    raise WeightsError(
                        f"{archive.name}: more than {MAX_MEMBERS} members or {MAX_UNPACKED:,} bytes before {member!r}"
                    )
                if info.name.removeprefix("./") == member:
                    return _write(tar, info, archive.name, target, size)
    except (
        tarfile.TarError, EOFError, zlib.error, ValueError, OSError, ArithmeticError, LookupError, RecursionError, TypeError,
    ) as error:  # fmt: skip
        if isinstance(error, OSError) and error.filename not in (None, str(archive)):
            raise WeightsError(f"{target}: cannot be written: {error.strerror}") from None
        raise WeightsError(f"{archive.name}: not a readable .tar.gz: {error or type(error).__name__}") from None
    raise WeightsError(f"{archive.name}: has no member {member!r}")


def _bounded_headers() -> type[tarfile.TarInfo]:
    """TarInfo that refuses long extensions of headers; tarfile would read them whole, whatever size they state."""
    import tarfile

    extensions = (
        tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    )  # fmt: skip

    class Bounded(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Bounded:
            info = super().frombuf(buf, encoding, errors)
            if info.size < 0 or (info.type in extensions and info.size > _MAX_EXTENSION):
                raise tarfile.ReadError(f"a header with an extension of {info.size:,} bytes")
            return info

    return Bounded


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, archive: str, target: Path, size: int | None) -> int:
    if not info.isreg():
        raise WeightsError(f"{archive}: the member {info.name!r} is not a regular file")
    if size is not None and info.size != size:
        raise WeightsError(f"{archive}: the member {info.name!r} has {info.size:,} bytes, expected {size:,}")
    source = tar.extractfile(info)
    assert source is not None  # true for every regular file
    written = 0
    with source, open(target, "wb") as file:
        while chunk := source.read(_CHUNK):
            store(file, chunk)
            written += len(chunk)
    if written != info.size:
        raise WeightsError(f"{archive}: the member {info.name!r} ends after {written:,} of {info.size:,} bytes")
    return written
