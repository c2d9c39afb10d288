"""Notes of the entry that holds a declaration's kernels: one small file each, dense-HASH.found.

A note is written atomically, and ignored if it is damaged or belongs to another declaration.
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
    """The file of the note for a declaration's key."""
    return folder / f"{layer}-{declared[:32]}.found"


def remembered(folder: Path, layer: str, declared: str) -> str:
    """The key of the declaration's entry, or "" if none is noted."""
    try:
        told = json.loads(note(folder, layer, declared).read_text())
        key = told["key"] if told["declared"] == declared else ""
    except (OSError, ValueError, TypeError, KeyError):  # no note yet, or a damaged one
        return ""
    return key if isinstance(key, str) and KEY.fullmatch(key) else ""


def remember(entry: Path, layer: str, declared: str, key: str) -> None:
    """Note the key of the declaration's entry; the caller holds the entry's lock.

    The scratch file is inside the entry, so that what a killed process leaves is cleared with it.
    Raises OSError if the disk is full.
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
