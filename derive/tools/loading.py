"""Where layers come from: the library by name, a user's file by its path.

A user's file is run; an error in it is reported with the file, the line and the line's text.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .. import library
from ..language.places import SourceLine, innermost
from ..models.declaration import declarations
from ..models.layers import Layer


class BuildError(Exception):
    """Something can't be built from a file or name, or into a folder; the message says why."""


@dataclass(frozen=True)
class Target:
    """The layers that a command is given, and the file that declares them, if any."""

    layers: dict[str, Layer]
    file: Path | None


def target(text: str | None) -> Target:
    """The layers that an argument of the command line names; without one, the library's.

    Raises BuildError, which lists the layers there are.
    """
    if text is None:
        return Target(library.layers(), None)
    if not text.strip():
        raise BuildError("LAYERS is empty: give a library layer's name, FILE.py or FILE.py:name")
    path, name = _split(text)
    if text in library.layers() or not _is_path(path):
        return Target(_chosen(library.layers(), text, "the library"), None)
    found = layers_of(load_file(path))
    if not found:
        raise BuildError(f"{path} declares no layer; decorate a function with @layer")
    return Target(_chosen(found, name, str(path)), path)


def _split(text: str) -> tuple[Path, str]:
    """The path, and the layer's name after the last colon, or "" if there is none."""
    path, _, name = text.rpartition(":")
    return (Path(text), "") if not path or Path(text).exists() else (Path(path), name)


def _is_path(path: Path) -> bool:
    """Whether the text means a file, existing or not."""
    return bool(path.suffix) or len(path.parts) > 1 or path.exists()


def _chosen(layers: dict[str, Layer], name: str, where: str) -> dict[str, Layer]:
    if not name:
        return layers
    if name not in layers:
        raise BuildError(f"{where} has no layer {name!r}; it has {', '.join(layers)}")
    return {name: layers[name]}


def load_file(path: Path) -> ModuleType:
    """Run a user's file of declarations as a module; what it prints goes to stderr.

    Raises BuildError, with the line, if it can't be read or run or declares a layer twice.
    """
    _check_file(path)
    name = f"declared_in_{path.stem}"  # never the name of an imported module
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as dataclasses and pickles of the file's own classes expect
    try:
        with declarations() as declared, redirect_stdout(sys.stderr), _beside(path):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BuildError(_sentence(path, error)) from error
    _check_declared_once(path, declared)
    return module


def _check_file(path: Path) -> None:
    if path.is_dir():
        inside = min((p for p in path.glob("*.py") if p.is_file()), default=path / "FILE.py")
        raise BuildError(f"{path} is a folder; give a file that declares layers, as {inside}")
    if not path.exists():
        raise BuildError(f"{path} does not exist; give the path of a file that declares layers")
    if path.suffix != ".py":
        raise BuildError(f"{path} is not a Python file; give a FILE.py that declares layers")


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Modules beside the file can be imported, but can't shadow one of Python's."""
    folder = str(path.resolve().parent)
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _sentence(path: Path, error: BaseException) -> str:
    """File, line and error, then the text of that line."""
    place, what = _place(path, error), _what(error)
    if place is None:
        return f"{path}: {what}"
    shown = path if place.file == str(path.resolve()) else place.file
    text = f"\n    {place.text}" if place.text else ""
    return f"{shown}:{place.line}: {what}{text}"


def _place(path: Path, error: BaseException) -> SourceLine | None:
    if isinstance(error, SyntaxError):
        return SourceLine(error.filename or str(path.resolve()), error.lineno or 1)
    return innermost(error, str(path.resolve()))


def _what(error: BaseException) -> str:
    """The error's message, preceded by its class unless that is one of ours."""
    if isinstance(error, SyntaxError):
        return error.msg
    if isinstance(error, SystemExit):
        return "this exits Python when the file is loaded; put it under if __name__ == '__main__':"
    name, text = type(error).__name__, str(error)
    if type(error).__module__.startswith("derive."):
        return text
    return f"{name}: {text}" if text else name


def _check_declared_once(path: Path, declared: Sequence[Layer]) -> None:
    """Refuse a file that declares two layers of one name: the second would silently win."""
    lines: dict[str, int] = {}
    for layer in declared:
        if layer.place is not None and layer.place.file == str(path.resolve()):
            first = lines.setdefault(layer.name, layer.place.line)
            if first != layer.place.line:
                raise BuildError(
                    f"{path}:{layer.place.line}: a layer {layer.name!r} is already declared in "
                    f"line {first}; rename one of them"
                )


def layers_of(module: ModuleType) -> dict[str, Layer]:
    """The layers that a module declares, by name and in order, without the library's."""
    return unique(v for v in vars(module).values() if isinstance(v, Layer) and not _is_shipped(v))


def _is_shipped(layer: Layer) -> bool:
    return any(layer is other for other in library.layers().values())


def unique(layers: Iterable[Layer]) -> dict[str, Layer]:
    """Layers by name.  Raises BuildError if two have the same name."""
    found: dict[str, Layer] = {}
    for layer in layers:
        first = found.setdefault(layer.name, layer)
        if first is not layer:
            places = " and ".join(str(one.place) for one in (first, layer) if one.place)
            raise BuildError(
                f"two layers are called {layer.name!r}{places and f' ({places})'}; "
                "rename one of them"
            )
    return found
