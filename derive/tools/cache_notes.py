"""Which entry of the cache a declaration has: CACHE/dense-HASH.found, a small file for each.

It is moved into place whole, and read as nothing where it is damaged or another declaration's.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from ..kernels.compiling.locking import SCRATCH

KEY = re.compile(r"[0-9a-f]{64}")
NOTE = re.compile(r"\w+-[0-9a-f]{32}\.found")


def note(folder: Path, layer: str, declared: str) -> Path:
    """The file for a declaration, by its key."""
    return folder / f"{layer}-{declared[:32]}.found"


def remembered(folder: Path, layer: str, declared: str) -> str:
    """The key of the declaration's entry, "" where none is known."""
    try:
        told = json.loads(note(folder, layer, declared).read_text())
        key = told["key"] if told["declared"] == declared else ""
    except (OSError, ValueError, TypeError, KeyError):  # not kept yet, or damaged
        return ""
    return key if isinstance(key, str) and KEY.fullmatch(key) else ""


def remember(entry: Path, layer: str, declared: str, key: str) -> None:
    """Keep the key of the declaration's entry, which is held; what is left of a death goes there.

    Raises OSError where there is no room.
    """
    with TemporaryDirectory(dir=entry, prefix=SCRATCH) as scratch:
        made = Path(scratch, "note")
        made.write_text(json.dumps({"declared": declared, "key": key}))
        os.replace(made, note(entry.parent, layer, declared))


def notes(folder: Path) -> list[Path]:
    """The notes in a folder, which may be missing."""
    there = sorted(folder.iterdir()) if folder.is_dir() else []
    own = [path for path in there if NOTE.fullmatch(path.name)]
    return [path for path in own if path.is_file() and not path.is_symlink()]
