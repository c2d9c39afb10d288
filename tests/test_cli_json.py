"""`--json`: one document on stdout that says what the text says; its keys are those of docs/."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from derived import emitted
from test_loading import FILE

from derive import library
from derive.evidence.checks.findings import Finding
from derive.tools import build
from derive.tools.build import texts
from derive.tools.cli import caching, checking, main
from derive.tools.cli.reports import plain

DOCS = (Path(__file__).resolve().parent.parent / "docs" / "command_line.md").read_text("utf-8")
WRONG = """
from derive import R, dims, layer
from derive.language.expressions import held

n = dims("n")


@layer
def wrong(x: R(n)) -> R(n):
    return held(x) * x  # its derivative is not the derivative of its value
"""


@pytest.fixture
def quick(monkeypatch):
    """Building without compiling: the modules' sources stand for the libraries."""
    monkeypatch.setattr(build, "emit", emitted)
    monkeypatch.setattr(build, "compile_modules", lambda modules, **_: [m.source for m in modules])


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """A cache with an entry."""
    made = tmp_path / "cache"
    entry = made / f"dense-{'0' * 32}"
    entry.mkdir(parents=True, mode=0o700)
    made.chmod(0o700)
    (entry / "dense.pyx").write_text("x" * 1234)
    monkeypatch.setenv("LAYERWISE_CACHE", str(made))
    return made


def document(capsys, *words: object, status: int = 0) -> Any:
    """The document, read as strictly as JSON is defined; all else must be on stderr."""
    assert main([*map(str, words), "--json"]) == status
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def shape(value: Any) -> Any:
    """A document's keys and kinds of values; of a list, those of all its entries."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        kinds = {json.dumps(shape(entry), sort_keys=True) for entry in value}
        return [*map(json.loads, sorted(kinds))]
    return type(value).__name__


def documented() -> dict[str, Any]:
    """The documents of docs/command_line.md by the command in front of each."""
    found = re.findall(r"^`derive ([^`]*) --json`.*?```json\n(.*?)```", DOCS, re.S | re.M)
    return {command: json.loads(text) for command, text in found}


def test_every_verb_that_reports_is_documented():
    assert list(documented()) == [
        *[
            "list",
            "show dense",
            "show elman",
            "show dense --pyx",
            "build dense --out DIR",
            "build --check",
        ],
        *["check dense", "latex dense --out DIR", "cache list"],
    ]


@pytest.mark.parametrize("command", documented())
def test_the_documents_have_the_keys_of_docs(capsys, quick, kept, monkeypatch, command):
    folder = kept.parent / "out"
    monkeypatch.setattr(build, "GENERATED", folder)  # where nothing is: all of it is stale
    if command == "build --check":  # the whole library would be derived, and no other key be said
        chosen = {"dense": library.layers()["dense"]}
        monkeypatch.setattr(build.library, "layers", lambda: chosen)
    expected = documented()[command]
    status = 1 if expected.get("ok") is False else 0
    found = document(capsys, *command.replace("DIR", str(folder)).split(), status=status)
    assert shape(found) == shape(expected)


def test_list(capsys):
    found = document(capsys, "list")["layers"]
    assert [row["name"] for row in found] == list(library.layers())
    assert "dense(x; W, b)" in [row["signature"] for row in found]


def test_show_tells_arguments_formula_maps_and_cost(capsys):
    (dense,) = document(capsys, "show", "dense")["layers"]
    assert dense["arguments"] == [
        {"name": "x", "space": "R(m)", "role": "state"},
        {"name": "W", "space": "R(n, m)", "role": "parameter"},
        {"name": "b", "space": "R(n)", "role": "parameter"},
    ]
    assert dense["formula"] == ["z = W x + b", "dense(x; W, b) = tanh(z)"]
    adjoint = next(m for m in dense["maps"] if m["name"] == "nabla*_W dense(x; W, b)")
    assert adjoint == {
        "symbol": "nabla*_W",
        "name": "nabla*_W dense(x; W, b)",
        "order": 1,
        "variable": "w",
        "domain": "R(n)",
        "codomain": "R(n, m)",
        "body": "(tanh'(z) (.) w) x^T",
        "zero": False,
    }
    assert [kernel["name"] for kernel in dense["kernels"]][:2] == ["forward", "tangent"]
    assert dense["kernels"][0]["cost"]["flops"] == "batch*n*(2*m + 1)"  # W x + b for each sample


def test_show_tells_the_recurrent_gradients_of_a_cell_and_of_a_network(capsys):
    (cell,) = document(capsys, "show", "independent_rnn")["layers"]
    forms = cell["recurrent"]["forms"]
    assert forms["form"] == "compressed" and forms["numbers"] == "n*(m + 2)"
    assert forms["blocks"] == [{"row": "h", "column": "h", "form": "diagonal"}]
    methods = [cost["method"] for cost in cell["recurrent"]["costs"]]
    assert methods == ["forward", "bptt", "rtrl", "hybrid"]
    (network,) = document(capsys, "show", "bidirectional_rnn")["layers"]
    assert network["recurrent"]["forms"] is None
    assert "future" in network["recurrent"]["why_offline"] and network["maps"] == []
    (dense,) = document(capsys, "show", "dense")["layers"]
    assert dense["recurrent"] is None


def test_show_tells_maps_that_are_zero_and_networks_that_nothing_declared(capsys):
    (bilinear,) = document(capsys, "show", "bilinear")["layers"]
    zero = [m["symbol"] for m in bilinear["maps"] if m["zero"]]
    assert zero == ["D^2_(x, x)", "D^2_(y, y)", "nabla^2_(W, W)"]
    (mlp,) = document(capsys, "show", "mlp")["layers"]
    assert mlp["declared"] is None


def test_show_tells_the_line_of_a_files_layers_whatever_the_file_prints(capsys, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"print('loaded')\n{FILE}")
    found = document(capsys, "show", path)["layers"]
    assert [layer["declared"] for layer in found] == [
        {"file": str(path), "line": 8},
        {"file": str(path), "line": 12},
    ]


def test_show_pyx(capsys):
    (dense,) = document(capsys, "show", "dense", "--pyx")["modules"]
    made = texts({"dense": library.layers()["dense"]})
    assert dense == {"name": "dense", "pyx": made["dense.pyx"], "pxd": made["dense.pxd"]}


def test_build(capsys, quick, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    folder = tmp_path / "kernels"
    assert document(capsys, "build", path) == {
        "folder": str(folder),
        "kernels": [
            {"layer": "twice", "path": str(folder / "twice.pyx")},
            {"layer": "bent", "path": str(folder / "bent.pyx")},
        ],
    }


def test_build_of_the_library_tells_its_kernels(capsys, quick, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "GENERATED", tmp_path)
    monkeypatch.setattr("derive.tools.cli.building.GENERATED", tmp_path)
    found = document(capsys, "build")
    assert [kernel["layer"] for kernel in found["kernels"]] == sorted(library.layers())
    assert {Path(kernel["path"]).parent for kernel in found["kernels"]} == {tmp_path}


def test_build_check(capsys, monkeypatch, tmp_path):
    chosen = {"dense": library.layers()["dense"]}
    monkeypatch.setattr(build, "GENERATED", tmp_path)
    monkeypatch.setattr(build.library, "layers", lambda: chosen)
    found = document(capsys, "build", "--check", status=1)
    assert found == {
        "stale": ["dense.pyx", "dense.pxd", "dense.tex", "generic_results.tex"],
        "ok": False,
    }


def test_check_has_the_rows_of_the_table(capsys):
    found = document(capsys, "check", "dense", "--seed", "3")
    assert found["layers"] == ["dense"] and found["seed"] == 3 and found["ok"] is True
    assert main(["check", "dense", "--seed", "3"]) == 0
    table = capsys.readouterr().out.splitlines()[1:]
    assert len(table) == len(found["rows"])
    for line, row in zip(table, found["rows"], strict=True):
        assert row["quantity"] in line and f"{row['value']:.1e}" in line
        assert row["ok"] is (row["value"] <= row["allowed"]) is True


def test_a_check_that_fails_is_not_ok_and_status_1(capsys, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(WRONG)
    found = document(capsys, "check", path, status=1)
    assert found["ok"] is False
    failed = {row["quantity"] for row in found["rows"] if not row["ok"]}
    assert "difference" in failed and "kernel" not in failed


def test_an_error_that_is_no_number_is_null_and_not_ok(capsys, monkeypatch):
    rows = [Finding("dense", "kernel", "y", error, 1e-15) for error in (np.nan, np.inf)]
    for row in rows:
        monkeypatch.setattr(checking, "check", lambda *_, row=row: [row])
        found = document(capsys, "check", "dense", status=1)
        assert found["rows"][0]["value"] is None and found["rows"][0]["ok"] is False


def test_cache(capsys, kept):
    found = document(capsys, "cache", "list")
    (entry,) = found["entries"]
    size = kept.joinpath(Path(entry["path"]).name, "dense.pyx").stat().st_size
    assert entry["layer"] == "dense" and entry["bytes"] == found["bytes"] == size == 1234
    assert datetime.fromisoformat(entry["built"]) <= datetime.now(UTC)
    removed = document(capsys, "cache", "clear", "--folder", kept)
    assert removed == {"folder": str(kept), "bytes": size, "removed": [entry]}
    assert document(capsys, "cache", "list")["entries"] == [] and list(kept.iterdir()) == []


def test_cache_in_words(capsys, kept):
    assert main(["cache", "list"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"dense +1 kB  \d{4}-\d\d-\d\d \d\d:\d\d  dense-0+", first)
    assert last == f"1 entry, 1 kB, in {kept}"
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"removed 1 entry, 1 kB, in {kept}"
    assert caching.entries() == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (float("-inf"), None),
        ((1, Path("a")), [1, "a"]),
        ({"a": None, "b": True}, {"a": None, "b": True}),
    ],
)
def test_values_of_json(value, expected):
    found = plain(value)
    assert found == expected and type(found) is type(expected)
