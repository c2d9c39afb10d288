"""An extension module, and the record of all that its library was made of."""

from __future__ import annotations

import hashlib
import json
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .compiler import ANY, Compiler

DIRECTIVES = {"boundscheck": False, "wraparound": False, "cdivision": True}
EXTENSION = sysconfig.get_config_var("EXT_SUFFIX")
PACKAGE = Path(__file__).resolve().parents[2]
RUNTIME = PACKAGE / "runtime"


@dataclass(frozen=True)
class Module:
    """An extension module to compile: its qualified name and its ``.pyx`` file."""

    name: str
    source: Path

    def __post_init__(self) -> None:
        if not all(part.isidentifier() for part in self.name.split(".")):
            raise ValueError(f"a module's name is identifiers joined by dots, not {self.name!r}")
        if self.source.name != f"{self.stem}.pyx":
            expected = f"{self.stem}.pyx"
            raise ValueError(f"module {self.name} is made of {expected}, not of {self.source.name}")

    @property
    def package(self) -> tuple[str, ...]:
        return tuple(self.name.split(".")[:-1])

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Target:
    """A module, the folder of its library, the hashes of its text and of all it is made of."""

    module: Module
    folder: Path
    source_hash: str
    key: str

    def file(self, suffix: str) -> Path:
        return self.folder / f"{self.module.stem}{suffix}"

    def record(self) -> dict[str, str]:
        """What decides the library, what any compiler would be given for it, and the library."""
        texts, library = content_hash(self.module, ANY), file_hash(self.file(EXTENSION))
        return {"module": self.module.name, "key": self.key, "texts": texts, "library": library}

    def is_current(self, whatever: tuple[str, ...] = ()) -> bool:
        """The library is what this record says; `whatever` are entries that may differ."""
        try:
            told = dict(json.loads(self.file(".build.json").read_text()))
            return told == {**self.record(), **{name: told[name] for name in whatever}}
        except (OSError, ValueError, TypeError, KeyError):  # not built yet, or damaged
            return False


def is_made_of_its_texts(module: Module) -> bool:
    """There is a library beside the source that some compiler made of the texts as they are."""
    return Target(module, module.source.parent, "", "").is_current(whatever=("key",))


def file_hash(path: Path) -> str:
    """The SHA-256 of a file; that of a ``.pyx`` is the source hash of its module."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content_hash(module: Module, compiler: Compiler) -> str:
    """The hash of all that decides a library: texts, versions, ABI, compiler, flags, CPU."""
    own = [module.source, module.source.with_suffix(".pxd")]
    texts = {path.name: path.read_bytes() for path in own if path.exists()}
    return text_hash(module.name, texts, compiler)


def text_hash(name: str, texts: Mapping[str, bytes], compiler: Compiler) -> str:
    """The content hash of a module that is to be made of these texts, by file name."""
    headers = sorted(path for path in RUNTIME.glob("*") if path.suffix in {".h", ".pxd"})
    read = [*texts.items(), *((path.name, path.read_bytes()) for path in headers)]
    hashes = [[file, hashlib.sha256(text).hexdigest()] for file, text in read]
    parts = [name, hashes, DIRECTIVES, version("Cython"), EXTENSION, compiler.identity]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
