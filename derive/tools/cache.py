"""`dense.compile()`: a layer's kernels, built once into a folder of the user's own, then loaded.

    CACHE/dense-HASH/       one entry; all that decides the library is in the hash
        dense.pyx dense.pxd     the emitted texts
        dense<ABI>.so           the library, moved here when it is finished
        dense.build.json        the hashes of both, compared before the library is loaded
        dense.build.log         after a failure: what Cython or the compiler said
    CACHE/dense-HASH.found  for a declaration, the key of the entry with its kernels

The key of an entry is a hash of the emitted texts, so kernels have to be derived once to be found.
From then on a note under the hash of the declaration and of the code that derives names the entry,
and nothing is derived again.  An entry is built and loaded under its lock, which the system
releases when its holder dies.  Without a C compiler, the NumPy reference serves the same calls.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import platform
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache as once
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from ..kernels.compiling.compile import Progress, build_stale
from ..kernels.compiling.compiler import NATIVE, Compiler, CompilerMissing, find_compiler, stamp
from ..kernels.compiling.locking import locked
from ..kernels.compiling.modules import (
    EXTENSION,
    Module,
    Target,
    content_hash,
    file_hash,
    text_hash,
)
from ..language import hooks
from ..models.layers import Layer
from ..runtime.pickling import referable
from .cache_folder import OPEN_TO_OTHERS, PRIVATE, CacheError, require_own, usable
from .cache_notes import remember, remembered
from .edge_modules import runtime_modules
from .fingerprint import code_fingerprint, fingerprint, loaded_code
from .references import reference

FLAGS = NATIVE
EDGE = "derive.runtime.edge"
# What derives and emits, and what takes the place of compiled kernels.  Kernels that are in the
# cache need neither, so both are imported by name only when needed: a warm start is much faster.
EMITTER = "derive.tools.build"
WITHOUT_COMPILER = "derive.kernels.interpreting"
MADE_WITH = ("sympy", "jinja2", "numpy")
_made: WeakKeyDictionary[Layer, dict[Path | None, ModuleType]] = WeakKeyDictionary()
_loaded: dict[Path, ModuleType] = {}
_turn = threading.Lock()  # Cython compiles one module at a time in a process


@hooks.compiled.register
def compiled(
    layer: Layer, *, cache: Path | None = None, progress: Progress = lambda line: None
) -> ModuleType:
    """See `Layer.compile`."""
    if cache not in _made.setdefault(layer, {}):
        with _turn:
            if cache not in _made[layer]:
                module = _kernels(layer, cache, progress)
                referable(module, reference(layer, cache, again))
                _made[layer][cache] = module
    return _made[layer][cache]


def again(held: bytes, cache: Path | None) -> ModuleType:
    """The kernels of a layer that was pickled.

    They are found in the cache or built there; within a process they are loaded once.
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
    except OSError as error:  # the disk is full, or a file is in the way
        raise CacheError(
            f"the kernels of {layer.name} can't be kept in {folder}: {error}; make room there or "
            "choose another folder with cache="
        ) from error


@once
def _compiler(flags: tuple[str, ...], _stamp: tuple[object, ...]) -> Compiler:
    """The compiler, queried again only when its file has changed."""
    return find_compiler(flags)


def _evaluated(layer: Layer, missing: CompilerMissing) -> ModuleType:
    """The layer's kernels on the NumPy reference, with one warning."""
    warnings.warn(f"{missing} Until then the NumPy reference computes, slowly.", stacklevel=6)
    evaluated = importlib.import_module(f"{WITHOUT_COMPILER}.evaluated")
    try:
        edge = importlib.import_module(EDGE)
    except ImportError:  # not compiled yet, or for another Python
        edge = importlib.import_module(f"{WITHOUT_COMPILER}.plain_edge")
    made: ModuleType = evaluated.evaluated_module(layer, edge)
    return made


# --- an entry: built and loaded under its lock


def _library(layer: Layer, folder: Path, compiler: Compiler, progress: Progress) -> ModuleType:
    """The kernels of a layer: those noted for its declaration, else derived."""
    code, own = loaded_code(), fingerprint(layer)
    surely = [code, own, text_hash(layer.name, {}, compiler)] if code and own else []
    declared = _key("declared", *surely) if surely else ""
    key = remembered(folder, layer.name, declared) if declared else ""
    return _whole(layer.name, folder, key) or _derived(layer, folder, compiler, declared, progress)


def _whole(name: str, folder: Path, key: str) -> ModuleType | None:
    """The kernels of the entry of that key; None unless it is exactly as it was built."""
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
    """Derive the layer's texts, build their entry if it is missing, and note the declaration."""
    name, emitted = layer.name, importlib.import_module(EMITTER).texts({layer.name: layer})
    texts = {file: text.encode() for file, text in emitted.items()}
    key = _key(text_hash(name, texts, compiler))
    entry = _place(name, folder, key)
    if entry not in _loaded or entry.is_dir():  # loaded, then cleared: not built again
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
    """The edge that kernels import: the package's own, else one compiled into an entry."""
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
    """A hash of texts and compiler, and of the versions and platform that a build depends on."""
    return hashlib.sha256(json.dumps([*hashes, *_surroundings()]).encode()).hexdigest()


@once
def _surroundings() -> tuple[str, ...]:
    packages = [f"{name} {_version(name)}" for name in ("layerwise", *MADE_WITH)]
    return (*packages, sys.platform, platform.machine(), *platform.libc_ver())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # not installed: its sources are in the hash
        return "not installed"


def _write(texts: dict[str, bytes], entry: Path) -> None:
    """Write only what differs, such as a text that was cut short or edited by hand."""
    for name, text in texts.items():
        path = entry / name
        if not path.exists() or path.read_bytes() != text:
            path.write_bytes(text)


def _load(name: str, library: Path) -> ModuleType:
    """The module, kept out of sys.modules, where it could shadow a module of the user's."""
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    is_taken = name in sys.modules
    spec.loader.exec_module(module)
    if not is_taken:
        sys.modules.pop(name, None)
    return module
