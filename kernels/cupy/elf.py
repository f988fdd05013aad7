"""Whether a cubin is whole: where its ELF file ends by its own headers, and the byte that CuPy drops.

CuPy's ``nvrtc.getCUBIN`` drops the last byte of every cubin as if it were the NUL after a text (seen with 14.2).
The tables of headers are at the end, so that byte is the highest of an 8-byte alignment or entry size: zero.
"""

from __future__ import annotations

import struct

__all__ = ["check_whole", "completed"]

_HEADER = 64
#: e_machine of NVIDIA CUDA.
_CUDA = 190
#: A section of that type has a size, but no bytes in the file.
_NOBITS = 8
#: A segment of that type is loaded; a cubin has some, and a file with a tail of zeros none.
_LOAD = 1
#: ELF64's entries of the two tables in bytes; their last field is an 8-byte number.
_PROGRAM_ENTRY, _SECTION_ENTRY = 56, 64


def _tables(data: bytes) -> tuple[tuple[int, int], tuple[int, int]]:
    """Offset and number of the program and of the section headers; ValueError if this is no 64-bit ELF file for CUDA."""
    if len(data) < _HEADER or data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{len(data)} bytes that begin with {data[:6]!r}; expected a little-endian ELF64 file")
    (machine,) = struct.unpack_from("<H", data, 18)
    if machine != _CUDA:
        raise ValueError(f"an ELF file for machine {machine}; expected {_CUDA} (CUDA)")
    programs_at, sections_at = struct.unpack_from("<QQ", data, 32)
    program_entry, programs, section_entry, sections = struct.unpack_from("<HHHH", data, 54)
    if (programs and program_entry != _PROGRAM_ENTRY) or section_entry != _SECTION_ENTRY or not sections:
        raise ValueError(
            f"an ELF file of {programs} program headers of {program_entry} bytes and {sections} section headers of "
            f"{section_entry}; expected {_PROGRAM_ENTRY} and {_SECTION_ENTRY} bytes"
        )
    return (programs_at, programs), (sections_at, sections)


def _tables_end(data: bytes) -> int:
    (programs_at, programs), (sections_at, sections) = _tables(data)
    return max(_HEADER, programs_at + programs * _PROGRAM_ENTRY, sections_at + sections * _SECTION_ENTRY)


def check_whole(data: bytes) -> None:
    """ValueError if this is no cubin, if headers or contents reach past its end, or if nothing is to be loaded."""
    wanted = _tables_end(data)
    if wanted > len(data):
        raise ValueError(f"{len(data)} bytes of an ELF file whose headers end at byte {wanted}")
    (programs_at, programs), (sections_at, sections) = _tables(data)
    loaded = 0
    for i in range(programs):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, programs_at + i * _PROGRAM_ENTRY)
        loaded += kind == _LOAD
        wanted = max(wanted, offset + size)
    if not loaded:
        raise ValueError(f"{len(data)} bytes of an ELF file without a segment to load")
    for i in range(sections):
        at = sections_at + i * _SECTION_ENTRY
        (kind,) = struct.unpack_from("<I", data, at + 4)
        offset, size = struct.unpack_from("<QQ", data, at + 24)
        if kind != _NOBITS:
            wanted = max(wanted, offset + size)
    if wanted > len(data):
        raise ValueError(f"{len(data)} bytes of an ELF file whose contents end at byte {wanted}")


def completed(data: bytes) -> bytes:
    """The cubin, with the one byte that CuPy drops at the end of its headers; ValueError if it is not whole then."""
    if _tables_end(data) == len(data) + 1:
        data += b"\0"
    check_whole(data)
    return data
