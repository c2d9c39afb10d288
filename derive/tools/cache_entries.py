"""What is in a cache: its entries, and how they are removed."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..kernels.compiling.locking import SCRATCH, locked
from .cache_folder import PRIVATE, WRITABLE_BY_OTHERS, place, require_own
from .cache_notes import notes

NAME = re.compile(r"(\w+)-[0-9a-f]{32}")  # of an entry
SUFFIXES = (".pyx", ".pxd", ".so", ".build.json", ".build.log")


@dataclass(frozen=True)
class Entry:
    """One entry of the cache: the layer's name, its folder, its size, and when it was built."""

    layer: str
    path: Path
    bytes: int
    built: datetime


def entries(folder: Path | None = None) -> list[Entry]:
    """The entries of a cache (by default the user's), sorted by name; [] if there is no cache.

    Raises CacheError if the folder is not the user's own.
    """
    root = place(folder)
    if not root.is_dir():
        return []
    require_own(root, WRITABLE_BY_OTHERS)
    return [_entry(path) for path in sorted(root.iterdir()) if _is_entry(path)]


def clear(folder: Path | None = None) -> list[Entry]:
    """Remove the entries of a cache and return them; waits for one that is being built.

    Files that the cache did not make are kept, together with the entry's folder around them.
    """
    found = entries(folder)
    for entry in found:
        with locked(entry.path, PRIVATE), suppress(OSError):
            _remove(entry.path)
    for note in notes(place(folder)):
        note.unlink(missing_ok=True)
    return [entry for entry in found if not entry.path.exists()]


def _is_entry(path: Path) -> bool:
    return bool(NAME.fullmatch(path.name)) and path.is_dir() and not path.is_symlink()


def _entry(path: Path) -> Entry:
    """A folder as an entry; a file that its builder moves away meanwhile does not count."""
    size = 0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.lstat().st_size
    built = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Entry(path.name.rpartition("-")[0], path, size, built)


def _remove(path: Path) -> None:
    for file in path.iterdir():
        if file.name.startswith(SCRATCH):
            shutil.rmtree(file)
        elif file.name.endswith(SUFFIXES):
            file.unlink()
    path.rmdir()
