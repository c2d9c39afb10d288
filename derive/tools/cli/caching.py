"""derive cache: the kernels that `compile()` of a layer has built."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..cache_entries import Entry, clear, entries
from ..cache_folder import place
from .options import Verbs, add_json, add_verb
from .reports import report, say

WHERE = "default: $LAYERWISE_CACHE, $XDG_CACHE_HOME/layerwise, ~/.cache/layerwise"


def add(verbs: Verbs) -> None:
    """The verb cache."""
    cache = add_verb(verbs, "cache", "the kernels that compile() of a layer has built", _cache)
    cache.add_argument("action", choices=["list", "clear"], help="show the entries, or remove them")
    cache.add_argument("--folder", metavar="DIR", type=Path, help=WHERE)
    add_json(cache)


def _cache(options: argparse.Namespace) -> int:
    listed = options.action == "list"
    there = entries(options.folder)
    found = there if listed else clear(options.folder)
    folder, size = place(options.folder), sum(entry.bytes for entry in found)
    document = {"folder": folder, "bytes": size, "entries" if listed else "removed": found}
    report(options, document, _lines(folder, found, size, "" if listed else "removed "))
    left = [] if listed else [entry for entry in there if entry.path.exists()]
    for entry in left:
        say(
            f"derive cache: {entry.path} can't be removed, {_inside(entry.path)}; remove it by hand"
        )
    return 1 if left else 0


def _inside(path: Path) -> str:
    """Why an entry was not removed: what else is in it."""
    try:
        names = sorted(file.name for file in path.iterdir())
    except OSError as error:
        return f"nor can it be read: {error.strerror}"
    return f"it holds {', '.join(names)}" if names else "its folder can't be written to"


def _lines(folder: Path, found: Sequence[Entry], size: int, what: str) -> Iterator[str]:
    for entry in found:
        built = f"{entry.built.astimezone():%Y-%m-%d %H:%M}"
        yield f"{what}{entry.layer:24} {_kilobytes(entry.bytes):>10}  {built}  {entry.path.name}"
    count = f"{len(found)} {'entry' if len(found) == 1 else 'entries'}"
    yield f"{what}{count}, {_kilobytes(size)}, in {folder}"


def _kilobytes(size: int) -> str:
    return f"{size / 1000:.0f} kB"
