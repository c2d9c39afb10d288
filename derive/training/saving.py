"""Trees of parameters in .npz files without pickled objects, written atomically."""

import fcntl
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from .parameters import Array, Tree, leaves, rebuilt, skeleton

# The entries of arrays end in ".npy", so no qualified name collides with this one.
_STRUCTURE = "structure.json"
_KINDS = "biufc"  # of dtypes that a file holds: booleans, integers, real and complex numbers
_LONGEST = 2**16 - 1  # bytes of an entry's name in a zip file
_HEADER, _SIGNATURE = 30, b"PK\x03\x04"  # bytes before the name of the first entry in a zip file


def save(path: str | os.PathLike[str], tree: Tree) -> None:
    """Write ``tree`` to ``path``, an .npz file without pickled objects.

    Names, nesting, order, shapes and dtypes are kept; ``np.load(path)["first.W"]`` reads one leaf.
    The bytes depend on the tree alone. The write is atomic: either the whole new file is at
    ``path`` or whatever was there before, a damaged .npz file too, which is replaced. Raises
    ValueError for a path that does not end in ".npz" and for a name that is too long,
    FileExistsError if the path is taken by anything other than an .npz file, TypeError for a leaf
    that does not hold numbers, each before anything is written.
    """
    _check_path("save(path, tree)", path)
    for name, array in leaves(tree):
        _check_savable(name, array)
    if Path(path).suffix != ".npz":
        raise ValueError(f"{os.fspath(path)!r}: expected a path ending in '.npz'; add the suffix")
    target = Path(os.path.realpath(path))  # replace the target of a link, not the link
    _check_replaceable(target)
    with _replacing(target) as file:
        _write(file, tree)


def load(path: str | os.PathLike[str]) -> Any:
    """The tree that ``save`` wrote to ``path``.

    Raises FileNotFoundError if there is no file, IsADirectoryError for a folder, and ValueError
    for a file that is broken, was not written by ``save``, or holds pickled objects, which are
    never unpickled.
    """
    _check_path("load(path)", path)
    _check_is_file(path)
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive)
        # The readers of zip, JSON and .npy raise a dozen types between them on damaged bytes.
        except Exception as error:
            raise ValueError(
                f"{os.fspath(path)!r} is not a readable file of parameters "
                f"({type(error).__name__}: {error}); it is damaged or was not written by save, "
                "so restore it from a copy or save it again"
            ) from error


def _check_path(call: str, path: object) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{call}: expected a path, got {type(path).__name__}")


def _check_is_file(path: str | os.PathLike[str]) -> None:
    shown = repr(os.fspath(path))
    if os.path.isdir(path):
        raise IsADirectoryError(f"load: {shown} is a folder; give the .npz file that save wrote")
    if not os.path.exists(path):
        raise FileNotFoundError(f"load: {shown} does not exist; save writes it")


def _check_savable(name: str, array: Array) -> None:
    _check_kind(name, array)
    size = len(_entry(name).encode())
    if size > _LONGEST:
        raise ValueError(
            f"parameter '{name[:20]}..': its name has {size} bytes, a file holds names of at most "
            f"{_LONGEST}; use shorter keys"
        )


def _check_kind(name: str, array: Array) -> None:
    if array.dtype.kind not in _KINDS:
        raise TypeError(
            f"parameter {name!r}: a file holds numbers, got an array of {array.dtype}; convert it "
            "or leave it out"
        )


# --- the file that is replaced


def _check_replaceable(target: Path) -> None:
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {str(target.parent)!r} does not exist; make it first")
    if target.exists() and not _is_npz(target):
        raise FileExistsError(
            f"{str(target)!r} exists and is not an .npz file; move it away or choose another path"
        )


def _is_npz(path: Path) -> bool:
    """All entries are arrays or the structure; of a damaged file, at least the first one is."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # the reader raises a dozen types on damaged bytes
        return _begins_as_npz(path)
    return all(_is_entry(name) for name in names)


def _begins_as_npz(path: Path) -> bool:
    """Whether it begins like one; an empty file and one cut off within the first name do too."""
    with open(path, "rb") as file:
        head = file.read(_HEADER)
        name = file.read(int.from_bytes(head[26:28], "little"))
    is_cut = len(head) < _HEADER or len(name) < int.from_bytes(head[26:28], "little")
    return _SIGNATURE.startswith(head[:4]) and (is_cut or _is_entry(name.decode(errors="replace")))


def _is_entry(name: str) -> bool:
    return name == _STRUCTURE or name.endswith(".npy")


def _entry(name: str) -> str:
    return f"{name}.npy"


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """A file beside the target that replaces it at the end, or is removed if that fails.

    All writers of one target take turns with one such file: a writer that is killed leaves only
    that file behind, and the next writer overwrites it.
    """
    key = hashlib.sha256(target.name.encode(errors="surrogateescape")).hexdigest()[:16]
    temporary = target.with_name(f".layerwise-{key}.tmp")
    with _held(temporary) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, temporary)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _held(path: Path) -> Iterator[IO[bytes]]:
    """The file, empty and locked by this writer; the system releases it when its holder dies."""
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(path, flags, 0o666), "r+b") as file:
            with suppress(OSError):  # a file system without locks: the last one wins
                fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_at(file, path):
                continue  # the previous writer has moved it into place
            file.truncate()
            yield file
            return


def _is_at(file: IO[bytes], path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    return False


def _write(file: IO[bytes], tree: Tree) -> None:
    # ZipInfo carries a fixed date, so that equal trees give equal bytes.
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_STRUCTURE), json.dumps(skeleton(tree)))
        for name, array in leaves(tree):
            with archive.open(zipfile.ZipInfo(_entry(name)), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def _read(archive: zipfile.ZipFile) -> Any:
    nesting = json.loads(archive.read(_STRUCTURE))
    tree = rebuilt(nesting, "", lambda name: _read_array(archive, name))
    expected = sorted([_STRUCTURE, *(_entry(name) for name, _ in leaves(tree))])
    if sorted(archive.namelist()) != expected:
        raise ValueError(f"expected the entries {expected}, got {sorted(archive.namelist())}")
    return tree


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(_entry(name)) as entry:
        array: Array = np.lib.format.read_array(entry, allow_pickle=False)
        # Reading to the end also makes zipfile compare the checksum.
        if entry.read(1):
            raise ValueError(f"the entry of {name!r} is longer than its array")
    _check_kind(name, array)
    return array
