"""A folder that one process at a time builds in."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SCRATCH = ".build-"


@contextmanager
def locked(folder: Path, mode: int = 0o777) -> Iterator[None]:
    """Hold ``folder`` alone, made where it is missing; the system lets go when its holder dies."""
    while True:
        folder.mkdir(mode, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # removed just now
        try:
            is_locked = _lock(descriptor)
            if not _is_at(descriptor, folder):
                continue  # its last holder has removed it
            for abandoned in folder.glob(f"{SCRATCH}*") if is_locked else ():
                shutil.rmtree(abandoned, ignore_errors=True)  # its builder was killed
            yield
            return
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Wait for the lock.  False on a file system without locks: there the last move wins."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _is_at(descriptor: int, folder: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    return False
