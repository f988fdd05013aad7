"""Which photographs there are: folders with all that is below them, patterns and files, in an order that does not change."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import FeedError, ImageError
from ..kernels.digest import blake2b
from ..vision.files import OTHER_IMAGES, SUFFIXES, SYSTEM_FOLDERS

__all__ = ["Listing", "Shard", "list_images"]


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` of ``count``, from 1: the images whose path has a digest with that remainder.

    The path counts from the folder that was named, so it does not matter where a machine has mounted it. An image stays in its
    shard when others come or go.
    """

    number: int = 1
    count: int = 1

    @staticmethod
    def parse(text: str) -> Shard:
        """'3/16'. FeedError for anything else."""
        number, _, count = text.partition("/")
        if not all(part.isascii() and part.isdecimal() and len(part) < 7 for part in (number, count)) or not (
            1 <= int(number) <= int(count)
        ):
            raise FeedError(f"a shard is NUMBER/COUNT with 1 <= NUMBER <= COUNT, such as 3/16, got {text[:40]!r}")
        return Shard(int(number), int(count))

    def has(self, path: str) -> bool:
        """Whether a path (relative to the folder that was named) belongs to it."""
        if self.count == 1:
            return True
        digest = blake2b(os.fsencode(path), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(slots=True)
class Listing:
    """``paths``, each once, and what was not looked at: ``unreadable`` folders with the reason, ``links`` to folders.

    others: images in folders whose format is not decoded here, whatever the shard.
    """

    paths: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)

    @property
    def notes(self) -> list[str]:
        """What was not looked at, in words."""
        notes = [f"{folder}: the folder cannot be read: {reason}" for folder, reason in self.unreadable]
        if self.links:
            first, more = self.links[0], len(self.links) - 1
            others = f" and {more} more" if more else ""
            notes.append(f"{first}{others}: links to folders are not followed; name the folder itself")
        if self.others:
            notes.append(f"not read: {self.other_images}; convert them to JPEG or PNG to have them labelled")
        return notes

    @property
    def other_images(self) -> str:
        """How many images of formats that are not decoded, in words: '3 images (.heic 2, .tif 1)'."""
        kinds = ", ".join(f"{suffix} {count:,}" for suffix, count in self.by_suffix())
        return f"{len(self.others):,} image{'s' * (len(self.others) > 1)} ({kinds})"

    def by_suffix(self) -> list[tuple[str, int]]:
        """How many of ``others`` have each suffix, in the order of suffixes."""
        return sorted(Counter(os.path.splitext(path)[1].lower() for path in self.others).items())


def list_images(arguments: Iterable[str], shard: Shard | None = None) -> Listing:
    """Images for arguments that may be files, folders or glob patterns, in their order, each once; ImageError if there are none.

    Of a folder all images below it are taken, folder by folder, sorted by the bytes of their names. Links to folders are not
    followed; names that begin with a dot and the folders of desktop systems are skipped. '-' stays as it is.
    """
    import glob

    part = shard or Shard()
    listing, found = Listing(), dict[str, None]()
    for argument in arguments:
        if argument == "-" or os.path.isfile(argument):
            candidates: Iterable[tuple[str, str]] = [(argument, argument)]
        elif os.path.isdir(argument):
            candidates = list(_below(argument, listing))
            if not candidates and not listing.unreadable:
                there = f"; not read: {listing.other_images}, convert them first" if listing.others else ""
                raise ImageError(
                    f"{argument}: the folder and those in it have no images ({', '.join(SUFFIXES)}){there}"
                )
        elif glob.has_magic(argument):
            matches = _matches(glob.glob(argument, recursive=True))
            if not matches:
                raise ImageError(f"{argument[:200]}: no file matches this pattern")
            candidates = [(m, m) for m in matches]
        else:
            candidates = [(argument, argument)]  # reported with the others, as a file that cannot be read
        found.update((path, None) for path, inside in candidates if part.has(inside))
    if not found and listing.unreadable:
        folder, reason = listing.unreadable[0]
        raise ImageError(f"{folder}: the folder cannot be read: {reason}")
    listing.paths, listing.links = list(found), list(dict.fromkeys(listing.links))
    return listing


def _matches(paths: list[str]) -> list[str]:
    """Files, sorted; a file in a folder that is reached in several ways, as ** follows links, counts once, by its shortest path."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted((p for p in paths if os.path.isfile(p)), key=lambda p: (len(p), os.fsencode(p))):
        folder, name = os.path.split(path)
        found.setdefault((os.path.realpath(folder), name), path)
    return sorted(found.values(), key=os.fsencode)


def _below(top: str, listing: Listing) -> Iterator[tuple[str, str]]:
    """(path, path relative to ``top``) of every image below a folder. No recursion: folders may be nested without end."""
    waiting = [(top, "")]
    while waiting:
        folder, inside = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                files, folders = _sorted(entries, listing)
        except OSError as error:
            listing.unreadable.append((folder, error.strerror or str(error)))
            continue
        for name in files:
            yield os.path.join(folder, name), os.path.join(inside, name)
        waiting.extend((os.path.join(folder, name), os.path.join(inside, name)) for name in reversed(folders))


def _sorted(entries: Iterator[os.DirEntry[str]], listing: Listing) -> tuple[list[str], list[str]]:
    """Names of images and of folders; pipes and devices with the name of an image are refused later, one by one."""
    files, folders = [], []
    for entry in entries:
        if entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS:
            continue
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        elif entry.is_symlink() and os.path.isdir(entry.path):  # entry.is_dir() raises for a link to itself
            listing.links.append(entry.path)
        elif entry.name.lower().endswith(SUFFIXES):
            files.append(entry.name)
        elif entry.name.lower().endswith(OTHER_IMAGES):
            listing.others.add(entry.path)
    listing.links.sort()
    return sorted(files, key=os.fsencode), sorted(folders, key=os.fsencode)
