"""The derivations in generated/ are those that are written now.

Update them with:  derive latex --out generated && derive latex --generic --out generated
"""

import difflib

import pytest
from derived import derived

from derive import derivation, library
from derive.tools.build import GENERATED
from derive.writing.documents.chapter import generic_results
from derive.writing.documents.document import Document

MAKE = {name: lambda layer=layer: derived(layer) for name, layer in library.layers().items()}
MAKE["generic_results"] = generic_results


def difference(made: Document, golden: str) -> list[str]:
    """The lines that differ."""
    lines = difflib.unified_diff(golden.splitlines(), made.tex.splitlines(), "golden", "now", n=1)
    return list(lines)


@pytest.mark.parametrize("name", MAKE)
def test_the_golden_derivation_is_current(name) -> None:
    golden = (GENERATED / f"{name}.tex").read_text("utf-8")
    found = difference(MAKE[name](), golden)
    assert not found, "\n".join([*found, __doc__ or ""])


def test_there_is_no_other() -> None:
    assert sorted(path.stem for path in GENERATED.glob("*.tex")) == sorted(MAKE)


def test_a_changed_line_is_seen() -> None:
    made = derivation(library.layers()["dense"])
    assert difference(made, made.tex.replace(r"\bar{z}\,x^{\mathsf T}", r"x\,\bar{z}^{\mathsf T}"))
