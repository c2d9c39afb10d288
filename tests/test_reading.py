"""Readings are complete: none can be made that lacks a kind of node, and no kind lacks a method."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import derive
from derive import R, dims, variable
from derive.language.expressions import Node, Variable
from derive.language.reading import KINDS, Reading

n = dims("n")


def below(kind: type) -> Iterator[type]:
    """All subclasses of a class that the package has."""
    for inner in kind.__subclasses__():
        yield from below(inner)
        if inner.__module__.startswith("derive."):
            yield inner


def load_all() -> None:
    for module in pkgutil.walk_packages(derive.__path__, "derive."):
        if not any(part in module.name for part in ("__main__", "packaging", "generated")):
            importlib.import_module(module.name)


load_all()
READINGS = sorted(set(below(Reading)), key=lambda reading: (reading.__module__, reading.__name__))


def complete() -> dict[str, object]:
    """A method for every kind of node."""
    return {kind: (lambda self, node, kind=kind: kind) for kind in KINDS.values()}


def test_the_package_reads_its_nodes_by_readings() -> None:
    assert len(READINGS) >= 12


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.__name__)
def test_no_reading_lacks_a_kind(reading: type) -> None:
    assert not inspect.isabstract(reading), reading.__abstractmethods__
    assert all(callable(getattr(reading, kind)) for kind in KINDS.values())


@pytest.mark.parametrize("kind", KINDS.values())
def test_a_reading_that_lacks_a_kind_is_not_made(kind: str) -> None:
    methods = complete()
    assert type("Toy", (Reading,), methods)()(variable("x", R(n))) == "variable"
    del methods[kind]
    with pytest.raises(TypeError, match=rf"abstract.*\b{kind}\b"):
        type("Toy", (Reading,), methods)()


def test_every_kind_of_node_has_its_method() -> None:
    assert set(KINDS) == set(below(Node))
    assert set(KINDS.values()) == Reading.__abstractmethods__
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_node_is_read_by_the_method_of_its_kind(kind: type) -> None:
    assert type("Toy", (Reading,), complete())()(kind.__new__(kind)) == KINDS[kind]


def test_what_is_no_expression_is_not_read() -> None:
    toy = type("Toy", (Reading,), complete())()
    with pytest.raises(TypeError, match="float is no kind of expression"):
        toy(1.0)

    class Own(Variable):
        pass

    with pytest.raises(TypeError, match="Own is no kind of expression"):
        toy(Own(R(n), "x"))


def test_the_page_on_a_new_kind_names_every_file_that_knows_the_last_one() -> None:
    root = Path(derive.__file__).parent.parent
    page = (root / "docs" / "nodes.md").read_text("utf-8").partition("## The files")[2]
    named = set(re.findall(r"`(derive/[\w/]+\.py)`", page)) - {"derive/models/resize.py"}
    knows = re.compile(r"RunningSum|running_sum|\bcumsum\b(?<!np\.cumsum)")
    files = {
        path for path in (root / "derive").rglob("*.py") if knows.search(path.read_text("utf-8"))
    }
    assert named == {path.relative_to(root).as_posix() for path in files}
