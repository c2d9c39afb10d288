"""The examples in the docstrings are true."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import derive

MODULES = sorted(
    path.stem for path in Path(derive.__file__).parent.glob("*.py") if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    failed, tried = doctest.testmod(import_module(f"derive.{name}"))
    assert tried and not failed
