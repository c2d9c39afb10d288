"""The folder of a user's compiled kernels: where it is, and that only the user can write to it.

Libraries found there are loaded into the process, so no other user may be able to put one there.
"""

from __future__ import annotations

import atexit
import os
import shlex
import shutil
import stat
import warnings
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from ..kernels.compiling.modules import PACKAGE

VARIABLE = "LAYERWISE_CACHE"
PRIVATE = 0o700
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class CacheError(Exception):
    """Kernels can't be kept in a folder; the message says which, why, and the fix."""


class Unwritable(CacheError):
    """The folder is missing or can't be written to; another one would do."""


def place(given: Path | None = None) -> Path:
    """The folder given, else $LAYERWISE_CACHE, $XDG_CACHE_HOME/layerwise, ~/.cache/layerwise.

    Raises CacheError if it is inside the package, Unwritable if there is no home directory.
    """
    try:
        found = Path(given or _default()).expanduser().absolute()
        inside = found.resolve().is_relative_to(PACKAGE)
    except TypeError as error:
        raise CacheError(f"cache={given!r}: expected the path of a folder") from error
    except (RuntimeError, OSError) as error:  # no home directory, or a cycle of links
        raise Unwritable(f"there is no folder for kernels ({error}): set {VARIABLE}") from error
    if inside:
        raise CacheError(f"{found} is inside the package, which must not change: choose another")
    return found


def _default() -> Path:
    if named := os.environ.get(VARIABLE):
        return Path(named)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.cache")) / "layerwise"


def usable(given: Path | None = None) -> Path:
    """The cache's folder, made with mode 0700 if it is missing.

    If it can't be written to, a folder that was given raises Unwritable; in place of the default
    one a private temporary folder serves until the process ends, with one warning.  Raises
    CacheError for a folder that is not the user's own.
    """
    try:
        return _made(place(given))
    except Unwritable as error:
        if given is not None:
            raise
        return _temporary(str(error))


def _made(folder: Path) -> Path:
    advice = f"set {VARIABLE} to a folder that can be"
    try:
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(f"{folder} can't be made ({error.strerror}): {advice}") from error
    require_own(folder, WRITABLE_BY_OTHERS)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Unwritable(f"{folder} can't be written to: {advice}")
    return folder.resolve()


def require_own(folder: Path, forbidden: int) -> None:
    """Raises CacheError for a folder, or a link to it, of another user or with these mode bits."""
    user, found = os.geteuid(), folder.stat()
    for owner in (found.st_uid, folder.lstat().st_uid):
        if owner != user:
            raise CacheError(
                f"{folder} belongs to user {owner} and you are user {user}; kernels are "
                f"loaded only from your own folder: set {VARIABLE} to one"
            )
    if found.st_mode & forbidden:
        raise CacheError(
            f"{folder} is open to other users: its mode is {stat.S_IMODE(found.st_mode):04o}: "
            f"run chmod 700 {shlex.quote(str(folder))}, and remove files in it that are not yours"
        )


@cache
def _temporary(reason: str) -> Path:
    try:
        made = Path(mkdtemp(prefix="layerwise-"))
    except OSError as error:
        raise Unwritable(f"{reason}; there is no temporary folder either: {error}") from error
    atexit.register(_remove, made, os.getpid())
    warnings.warn(f"{reason}; until this process ends kernels are in {made}", stacklevel=7)
    return made


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and no fork of it
        shutil.rmtree(folder, ignore_errors=True)
