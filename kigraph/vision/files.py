"""Which files of a folder are taken for photographs, and which folders are never looked into."""

from __future__ import annotations

__all__ = ["SUFFIXES", "SYSTEM_FOLDERS"]

#: How the names of photographs end, in small letters.
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif")
#: Folders in which desktop systems and storage servers keep previews and deleted files; others of theirs begin with a dot.
SYSTEM_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found", "#recycle"}
)
