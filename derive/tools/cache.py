"""`dense.compile()`: a layer's kernels, built once into a folder of the user's own, then loaded.

    CACHE/dense-HASH/       one entry; all that decides the library is in the hash
        dense.pyx dense.pxd     the emitted texts
        dense<ABI>.so           the library, moved here when it is finished
        dense.build.json        the hashes of both, compared before the library is loaded
        dense.build.log         after a failure: what Cython or the compiler said
    CACHE/dense-HASH.found  for a declaration, the key of the entry with its kernels

What a declaration's kernels are is known once they were derived.  A file with the declaration's
hash, and that of the code that derives, says it from then on, so that nothing is derived again.
An entry is built and loaded under its lock, which the system frees when its holder dies.  Where
there is no C compiler, the NumPy reference computes the same calls.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import platform
import re
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache as once
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from ..kernels.compiling.compile import (
    EXTENSION,
    SCRATCH,
    Module,
    Progress,
    Target,
    build_stale,
    content_hash,
    file_hash,
    locked,
    text_hash,
)
from ..kernels.compiling.compiler import (
    NATIVE,
    Compiler,
    CompilerMissing,
    find_compiler,
    stamp,
)
from ..kernels.interpreting import plain_edge
from ..kernels.interpreting.evaluated import evaluated_module
from ..kernels.printing.cython.emit import emit
from ..language import hooks
from ..models.layers import Layer
from ..runtime.pickling import referable
from .build import runtime_modules
from .cache_folder import (
    OPEN_TO_OTHERS,
    PRIVATE,
    WRITABLE_BY_OTHERS,
    CacheError,
    place,
    require_own,
    usable,
)
from .cache_notes import notes, remember, remembered
from .fingerprint import code_fingerprint, fingerprint, loaded_code
from .references import reference

FLAGS = NATIVE
EDGE = "derive.runtime.edge"
NAME = re.compile(r"(\w+)-[0-9a-f]{32}")  # of an entry
MADE_WITH = ("sympy", "jinja2", "numpy")
SUFFIXES = (".pyx", ".pxd", ".so", ".build.json", ".build.log")

_made: WeakKeyDictionary[Layer, dict[Path | None, ModuleType]] = WeakKeyDictionary()
_loaded: dict[Path, ModuleType] = {}
_turn = threading.Lock()  # Cython compiles one module at a time in a process


@hooks.compiled.register
def compiled(
    layer: Layer, *, cache: Path | None = None, progress: Progress = lambda line: None
) -> ModuleType:
    """What `Layer.compile` says."""
    if cache not in _made.setdefault(layer, {}):
        with _turn:
            if cache not in _made[layer]:
                module = _kernels(layer, cache, progress)
                referable(module, reference(layer, cache, again))
                _made[layer][cache] = module
    return _made[layer][cache]


def again(held: bytes, cache: Path | None) -> ModuleType:
    """The kernels of a layer that was pickled.

    Whoever reads it finds them in the cache, or builds them; the same process has the same ones.
    """
    return compiled(pickle.loads(held), cache=cache)


def _kernels(layer: Layer, cache: Path | None, progress: Progress) -> ModuleType:
    try:
        compiler = _compiler(FLAGS, stamp())
    except CompilerMissing as missing:
        return _evaluated(layer, missing)
    folder = usable(cache)
    try:
        _provide_edge(folder, compiler, progress)
        return _library(layer, folder, compiler, progress)
    except OSError as error:  # the disk is full, a file was put in the way
        raise CacheError(
            f"the kernels of {layer.name} can't be kept in {folder}: {error}; make room there or "
            "choose another folder with cache="
        ) from error


@once
def _compiler(flags: tuple[str, ...], _stamp: tuple[object, ...]) -> Compiler:
    """The compiler, asked once for each state of its file."""
    return find_compiler(flags)


def _evaluated(layer: Layer, missing: CompilerMissing) -> ModuleType:
    """The layer's kernels without a compiler, with one warning."""
    warnings.warn(f"{missing} Until then the NumPy reference computes, slowly.", stacklevel=6)
    try:
        return evaluated_module(layer, importlib.import_module(EDGE))
    except ImportError:  # not compiled yet, or for another Python
        return evaluated_module(layer, plain_edge)


# --- an entry: built and loaded under its lock


def _library(layer: Layer, folder: Path, compiler: Compiler, progress: Progress) -> ModuleType:
    """The kernels of a layer: those that its declaration is known to have, else derived."""
    code, own = loaded_code(), fingerprint(layer)
    surely = [code, own, text_hash(layer.name, {}, compiler)] if code and own else []
    declared = _key("declared", *surely) if surely else ""
    key = remembered(folder, layer.name, declared) if declared else ""
    return _whole(layer.name, folder, key) or _derived(layer, folder, compiler, declared, progress)


def _whole(name: str, folder: Path, key: str) -> ModuleType | None:
    """The kernels of the entry of that key, where it is as it was built."""
    entry = _place(name, folder, key)
    if key and entry not in _loaded and entry.is_dir():
        with _held(entry):
            target = Target(Module(name, entry / f"{name}.pyx"), entry, "", key)
            if target.is_current():
                _loaded[entry] = _load(name, target.file(EXTENSION))
    return _loaded.get(entry)


def _derived(
    layer: Layer, folder: Path, compiler: Compiler, declared: str, progress: Progress
) -> ModuleType:
    """The kernels of the layer's texts, which are derived here; then its declaration is noted."""
    name, emitted = layer.name, emit(layer)
    texts = {f"{name}.pyx": emitted.pyx.encode(), f"{name}.pxd": emitted.pxd.encode()}
    key = _key(text_hash(name, texts, compiler))
    entry = _place(name, folder, key)
    if entry not in _loaded or entry.is_dir():  # it may be cleared, and is then not made anew
        with _held(entry):
            if entry not in _loaded:
                _write(texts, entry)
                module = Module(name, entry / f"{name}.pyx")
                target = Target(module, entry, file_hash(module.source), key)
                (library,) = build_stale([target], compiler, 1, progress)
                _loaded[entry] = _load(name, library)
            if declared and code_fingerprint() == loaded_code():
                remember(entry, name, declared, key)
    return _loaded[entry]


def _place(name: str, folder: Path, key: str) -> Path:
    return folder / f"{name}-{key[:32]}"


def _provide_edge(folder: Path, compiler: Compiler, progress: Progress) -> None:
    """The edge that kernels import: that of the package, else one in an entry of its own."""
    with suppress(ImportError):
        importlib.import_module(EDGE)
        return
    modules = runtime_modules()
    keys = [_key(content_hash(module, compiler)) for module in modules]
    entry = folder / f"edge-{_key(*keys)[:32]}"
    with _held(entry):
        targets = [
            Target(module, entry, file_hash(module.source), key)
            for module, key in zip(modules, keys, strict=True)
        ]
        libraries = build_stale(targets, compiler, 2, progress)
        for module, library in zip(modules, libraries, strict=True):
            sys.modules[module.name] = _load(module.name, library)


@contextmanager
def _held(entry: Path) -> Iterator[None]:
    with locked(entry, PRIVATE):
        require_own(entry, OPEN_TO_OTHERS)
        yield


def _key(*hashes: str) -> str:
    """A hash of texts and compiler together with what else an entry is made with."""
    return hashlib.sha256(json.dumps([*hashes, *_surroundings()]).encode()).hexdigest()


@once
def _surroundings() -> tuple[str, ...]:
    packages = [f"{name} {_version(name)}" for name in ("layerwise", *MADE_WITH)]
    return (*packages, sys.platform, platform.machine(), *platform.libc_ver())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from where it lies, and the texts are in the hash
        return "not installed"


def _write(texts: dict[str, bytes], entry: Path) -> None:
    """Only what differs: half a text, or one that somebody has edited."""
    for name, text in texts.items():
        path = entry / name
        if not path.exists() or path.read_bytes() != text:
            path.write_bytes(text)


def _load(name: str, library: Path) -> ModuleType:
    """The module, which Cython enters into sys.modules: there it could stand for a user's own."""
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    is_taken = name in sys.modules
    spec.loader.exec_module(module)
    if not is_taken:
        sys.modules.pop(name, None)
    return module


# --- what is there


@dataclass(frozen=True)
class Entry:
    """One entry of the cache: the layer's name, its folder, its size, and when it was built."""

    layer: str
    path: Path
    bytes: int
    built: datetime


def entries(folder: Path | None = None) -> list[Entry]:
    """The entries of a cache, by default the user's, by name; none where there is no cache.

    Raises CacheError where it is not the user's own folder.
    """
    root = place(folder)
    if not root.is_dir():
        return []
    require_own(root, WRITABLE_BY_OTHERS)
    return [_entry(path) for path in sorted(root.iterdir()) if _is_entry(path)]


def clear(folder: Path | None = None) -> list[Entry]:
    """Removes the entries of a cache and returns them; waits for one that is being built.

    A file that the cache has not made is left, and so is the entry's folder around it.
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
    """A file may vanish while it is looked at: its builder has moved it."""
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
