"""Which files of a folder are taken for photographs, and which folders are never looked into."""

from __future__ import annotations

__all__ = ["OTHER_IMAGES", "SUFFIXES", "SYSTEM_FOLDERS"]

#: How the names of photographs end, in small letters.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif")
#: How the names of images end that are not decoded here: cameras, telephones, scanners.
OTHER_IMAGES = (
    ".heic", ".heif", ".avif", ".jxl", ".tif", ".tiff", ".jp2", ".j2k", ".svg", ".psd", ".ico", ".tga", ".ppm", ".pgm", ".pnm",
    ".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw",
)  # fmt: skip
#: Folders in which desktop systems and storage servers keep previews and deleted files; others of theirs begin with a dot.
SYSTEM_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle"}
)
