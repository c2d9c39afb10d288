"""The kernels noted for a declaration are found without deriving it, if their entry is whole."""

import json
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from cached import builds, elsewhere, power, surroundings, the_entry, value, value_of_two

from derive import Layer
from derive.kernels.compiling.modules import EXTENSION
from derive.tools import build, cache, cache_entries
from derive.tools.cache_notes import notes, remember, remembered

__all__ = ["surroundings"]
pytestmark = pytest.mark.usefixtures("surroundings")


def derived(folder: Path, factor: int = 2, kind: type[Layer] = Layer) -> tuple[float, int]:
    """The layer's value at 3, and how often it was derived for it."""
    made, emit = [], build.emit

    def counted(layer: Layer) -> Any:
        made.append(layer)
        return emit(layer)

    build.emit = counted
    try:
        layer = power(factor)
        return value(kind(layer.name, layer.arguments, layer.output), folder), len(made)
    finally:
        build.emit = emit


def test_another_process_and_another_object_derive_nothing(tmp_path: Path) -> None:
    assert elsewhere(derived, tmp_path) == (18.0, 1)
    assert elsewhere(derived, tmp_path) == (18.0, 0)
    assert derived(tmp_path) == (18.0, 0) == derived(tmp_path)
    assert derived(tmp_path, 5) == (45.0, 1)
    assert builds(tmp_path) == 2 == len(notes(tmp_path))


class Own(Layer):
    """A class of the user's own, whose fields do not say what it does."""


def test_what_has_no_fingerprint_is_derived_and_not_noted(tmp_path: Path) -> None:
    assert elsewhere(derived, tmp_path) == (18.0, 1)
    for _ in range(2):
        assert elsewhere(derived, tmp_path, 2, Own) == (18.0, 1)
    assert len(notes(tmp_path)) == 1 == builds(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"key": 1, "declared": 2}'])
def test_a_damaged_note_is_written_anew_and_nothing_is_built(tmp_path: Path, text: str) -> None:
    elsewhere(value_of_two, tmp_path)
    (note,) = notes(tmp_path)
    whole = note.read_text()
    note.write_text(text)
    assert elsewhere(derived, tmp_path) == (18.0, 1)
    assert note.read_text() == whole and builds(tmp_path) == 1
    assert stat.S_IMODE(note.stat().st_mode) & stat.S_IWOTH == 0


def test_a_note_of_another_declaration_is_not_believed(tmp_path: Path) -> None:
    elsewhere(value_of_two, tmp_path)
    (two,) = notes(tmp_path)
    elsewhere(value, power(5), tmp_path)
    (five,) = set(notes(tmp_path)) - {two}
    shutil.copy(five, two)
    assert elsewhere(derived, tmp_path) == (18.0, 1)


def test_a_note_names_an_entry_and_no_path(tmp_path: Path) -> None:
    entry = tmp_path / "entry"
    entry.mkdir()
    for key in ("../" * 8 + "x" * 40, "0" * 63, "", 7, None):
        remember(entry, "f", "a" * 64, key)  # type: ignore[arg-type]
        assert remembered(tmp_path, "f", "a" * 64) == ""
    remember(entry, "f", "a" * 64, "0" * 64)
    assert remembered(tmp_path, "f", "a" * 64) == "0" * 64


@pytest.mark.parametrize("lost", ["entry", EXTENSION, ".pyx", ".build.json"])
def test_an_entry_that_is_not_whole_is_made_again(tmp_path: Path, lost: str) -> None:
    elsewhere(value_of_two, tmp_path)
    entry = the_entry(tmp_path)
    shutil.rmtree(entry) if lost == "entry" else (entry / f"power{lost}").unlink()
    assert elsewhere(derived, tmp_path) == (18.0, 1)
    assert elsewhere(derived, tmp_path) == (18.0, 0)
    assert builds(tmp_path) == (1 if lost == ".pyx" else 2)


def test_another_code_derives_anew_and_builds_only_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(value_of_two, tmp_path)
    monkeypatch.setattr(cache, "loaded_code", lambda: "another")
    for _ in range(2):  # the files differ from what was loaded: nothing is noted
        assert elsewhere(derived, tmp_path) == (18.0, 1)
    monkeypatch.setattr(cache, "code_fingerprint", lambda: "another")
    assert elsewhere(derived, tmp_path) == (18.0, 1)
    assert elsewhere(derived, tmp_path) == (18.0, 0)
    assert len(notes(tmp_path)) == 2 and builds(tmp_path) == 1
    monkeypatch.setattr(cache, "loaded_code", lambda: None)  # edited before the first call
    assert elsewhere(derived, tmp_path) == (18.0, 1)


def test_another_compiler_has_another_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(value_of_two, tmp_path / "c")
    script = tmp_path / "compiler"
    script.write_text(script.read_text() + "\n")  # another file, the same compiler
    assert elsewhere(derived, tmp_path / "c") == (18.0, 0)
    monkeypatch.setattr(cache, "FLAGS", (*cache.FLAGS, "-O1"))
    assert elsewhere(derived, tmp_path / "c") == (18.0, 1)
    assert builds(tmp_path) == 2


def test_clear_removes_notes_and_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    elsewhere(value_of_two, folder)
    (note,) = notes(folder)
    link, other = folder / f"power-{'f' * 32}.found", folder / "mine.found"
    other.write_text(json.dumps("mine"))
    link.symlink_to(other)
    assert len(cache_entries.clear(folder)) == 1
    assert not note.exists() and link.is_symlink() and other.exists()
    assert elsewhere(derived, folder) == (18.0, 1)


def test_the_compiler_is_asked_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value_of_two(tmp_path / "c")
    monkeypatch.setattr(cache, "find_compiler", lambda flags: sys.exit(1))
    assert value(power(2), tmp_path / "c") == 18.0
