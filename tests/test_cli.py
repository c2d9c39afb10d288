"""The command line: what goes to stdout, and the exit status."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from derived import emitted
from test_loading import FILE

from derive import library
from derive.evidence.checks.check import check, proof_findings
from derive.evidence.checks.findings import MEANINGS
from derive.kernels.printing.cython.emit import HEADER
from derive.tools import build, edge_modules
from derive.tools.build import texts, write_texts
from derive.tools.cli import command as subject
from derive.tools.cli import main
from derive.tools.cli.building import DERIVED_BY, EMITTED_BY, OF_NO_LAYER
from derive.tools.cli.parser import FAMILIES

VERBS = ["list", "show", "build", "check", "latex", "new", "cache"]


@pytest.fixture
def quick(monkeypatch):
    """Building without compiling: the modules' sources stand for the libraries."""
    monkeypatch.setattr(build, "emit", emitted)
    monkeypatch.setattr(build, "compile_modules", lambda modules, **_: [m.source for m in modules])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def helped(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


# --- reports


def test_list_has_a_line_for_every_layer(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(library.layers())
    assert all(
        layer.signature in line
        for line, layer in zip(lines, library.layers().values(), strict=True)
    )


def test_show_prints_the_layers_formula_or_its_module(capsys):
    assert main(["show", "dense"]) == 0
    assert "tanh(z)" in capsys.readouterr().out
    assert main(["show", "dense", "--pyx"]) == 0
    assert capsys.readouterr().out.startswith(HEADER)


def test_show_of_a_file_prints_each_layer_after_an_empty_line(capsys, file):
    assert main(["show", str(file)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("twice(x)\n") and "\n\nbent(x; b)\n" in said


def test_build_of_a_file_prints_where_its_kernels_are(capsys, file, quick, tmp_path):
    assert main(["build", str(file)]) == 0
    made = [tmp_path / "kernels" / f"{name}.pyx" for name in ("twice", "bent")]
    assert capsys.readouterr().out.splitlines() == [str(path) for path in made]
    assert all(path.is_file() for path in made)


def test_build_of_one_layer_into_a_folder(capsys, file, quick, tmp_path):
    assert main(["build", f"{file}:bent", "--out", str(tmp_path / "there")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'there' / 'bent.pyx'}\n"
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["bent.pxd", "bent.pyx"]


def test_a_library_layer_is_built_into_a_folder(capsys, quick, tmp_path):
    assert main(["build", "dense", "--out", str(tmp_path)]) == 0
    made = texts({"dense": library.layers()["dense"]})
    assert (tmp_path / "dense.pyx").read_text() == made["dense.pyx"]


def test_the_library_is_built_into_a_folder(capsys, quick, tmp_path):
    assert main(["build", "--out", str(tmp_path)]) == 0
    made = [str(tmp_path / f"{name}.pyx") for name in library.layers()]
    assert capsys.readouterr().out.splitlines() == made


def test_check_tells_whether_generated_is_current(capsys, monkeypatch, tmp_path):
    """A folder of its own stands for generated/; nothing is written into it by --check."""
    chosen = {name: library.layers()[name] for name in ("dense", "affine")}
    monkeypatch.setattr(build, "GENERATED", tmp_path)
    monkeypatch.setattr(build.library, "layers", lambda: chosen)
    assert main(["build", "--check"]) == 1
    emitted, derived = capsys.readouterr().out.splitlines()
    assert emitted.endswith("dense.pyx, dense.pxd, affine.pyx, affine.pxd; " + EMITTED_BY)
    assert derived.endswith(": dense.tex, affine.tex, generic_results.tex; " + DERIVED_BY)
    assert list(tmp_path.iterdir()) == []
    write_texts(texts(chosen), tmp_path)
    commands = DERIVED_BY.removeprefix("update it with: ").replace("generated", str(tmp_path))
    for command in commands.split(" && "):  # as they are printed
        assert main(command.split()[1:]) == 0
    capsys.readouterr()
    assert main(["build", "--check"]) == 0
    assert capsys.readouterr().out == ""
    (tmp_path / "dense.pyx").write_text(HEADER + "\nchanged\n")
    (tmp_path / "gone.pyx").write_text(HEADER + "\n")
    first = (tmp_path / "affine.tex").read_text()
    (tmp_path / "affine.tex").write_text(first.replace("W", "V"))
    (tmp_path / "gone.tex").write_text(first)
    (tmp_path / "paper.tex").write_text("of one's own")
    assert main(["build", "--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"generated/ is not current: dense.pyx, gone.pyx; {EMITTED_BY}",
        f"generated/ is not current: affine.tex; {DERIVED_BY}",
        f"generated/ is not current: gone.tex; {OF_NO_LAYER}",
    ]


def test_a_layer_built_into_generated_is_the_librarys_module(quick, monkeypatch, tmp_path):
    """What `build.py demo` asks for: derive.generated.NAME, with the project's flags, alone."""
    for room in ("build", "cli.building"):
        monkeypatch.setattr(f"derive.tools.{room}.GENERATED", tmp_path)
    compiled = {}

    def compile_modules(modules, flags, **_):
        compiled.update((module.name, flags) for module in modules)
        return [module.source for module in modules]

    monkeypatch.setattr(build, "compile_modules", compile_modules)
    (tmp_path / "gone.pyx").write_text(HEADER + "\n")
    assert main(["build", "dense", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"dense.pyx", "dense.pxd", "gone.pyx"}
    edge = {module.name for module in edge_modules.runtime_modules()}
    assert compiled == dict.fromkeys(edge | {"derive.generated.dense"}, build.STRICT)


def test_build_writes_no_derivation(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "GENERATED", tmp_path)
    assert main(["build"]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".pyx", ".pxd"}


# --- help and exit status


def test_the_help_has_every_verb_and_every_exit_status(capsys):
    said = helped(capsys)
    assert re.findall(r"^    (\w+) ", said, re.MULTILINE)[: len(VERBS)] == VERBS
    for status in ("0    success", "1    an error", "2    a usage error", "130  interr"):
        assert f"\n  {status}" in said
    assert len(FAMILIES) <= len(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_help(capsys, verb):
    assert helped(capsys, verb).startswith(f"usage: derive {verb} ")


def test_the_help_of_check_explains_every_row_and_no_other(capsys):
    """The laws that are found on layers which between them are under all of them."""
    layers = [library.layers()[name] for name in ("dense", "squared_loss")]
    found = [finding for layer in layers for finding in check(layer)]
    found += check(library.layers()["elman"], import_module("derive.generated.elman"))
    of_kernels = ["kernel", "memory", "asked", "batch", "nan"]
    laws = {finding.law for finding in [*found, *proof_findings(layers[0])]}
    assert laws | set(of_kernels) == set(MEANINGS)
    said = helped(capsys, "check")
    assert all(f"\n  {law:26} {meaning}" in said for law, meaning in MEANINGS.items())


def test_the_laws_of_kernels_are_rows_of_the_table(capsys):
    assert main(["check", "affine"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    laws = [re.split(r" {2,}", line)[1] for line in lines]
    assert {"kernel", "memory", "asked", "batch", "nan"} < set(laws) < set(MEANINGS)
    assert laws == [law for law in MEANINGS if law in laws]  # explained in the order of the table


WRONG = {
    "nothing": [],
    "no verb": ["dance"],
    "too much": ["build", "a", "b"],
    "no option": ["list", "--out"],
    "no layer": ["show"],
    "a word for a number": ["check", "--seed", "many"],
    "a seed below zero": ["check", "--seed", "-1"],
    "--check of a layer": ["build", "dense", "--check"],
    "--check into a folder": ["build", "--check", "--out", "there"],
    "--check of nothing": ["build", "", "--check"],
    "--generic of nothing": ["latex", "", "--generic"],
    "--out of built kernels": ["check", "dense", "--out", "there"],
    "no name": ["new"],
    "no action": ["cache"],
    "another action": ["cache", "burn"],
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_a_wrong_command_line_is_status_2(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.out == ""
    assert said.err.startswith("usage: derive ") and "error: " in said.err.splitlines()[-1]


def test_an_interrupted_command_is_status_130(capsys, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(library, "layers", interrupted)
    assert main(["list"]) == subject.INTERRUPTED == 130
    assert capsys.readouterr() == ("", "derive list: interrupted\n")


def test_python_m_derive_is_the_command_and_ends_with_its_status(tmp_path):
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "derive", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert any(line.startswith("affine ") for line in run("list").stdout.splitlines())
    assert [run("list").returncode, run("show", "dens").returncode] == [0, 1]
    assert run("dance").returncode == 2


def test_a_reader_that_has_seen_enough_is_no_mistake():
    """With little to say, Python would notice it only behind the end of the command."""
    buffered = {key: text for key, text in os.environ.items() if key != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "derive", "show", "dense"],
            env=buffered,
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
