"""The tutorial is run from its text: files are written, commands and Python run, output compared.

    ```python file=NAME   is written into the folder
    ```python             is run, all in one session; a ```text block behind it is its output
    ```console            lines with $ are run, the lines behind each are its output on stdout
    ```console status=1   this is the exit status, and what stderr has comes first

`...` stands for any text.  Errors that `derive check` has measured are those of one machine: the
rows and their verdicts are compared, not the digits nor where the worst error was.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)((?: \w+=\S+)*)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
MEASURED = re.compile(r"  \d\.\de[+-]\d\d +\d\.\de[+-]\d\d +(ok|FAIL)  .*")


@dataclass(frozen=True)
class Block:
    """A block of the text: what it is, what stands in it, and the output behind it."""

    line: int
    kind: str
    options: dict[str, str]
    text: str
    output: str


def blocks(text: str) -> list[Block]:
    """The blocks of a text, in order; none is left out."""
    found = []
    for match in BLOCK.finditer(text):
        kind, options, body, output = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        pairs = dict(option.split("=") for option in options.split())
        found.append(Block(line, kind, pairs, body, output or ""))
    fences = len(re.findall(r"^```", text, re.M))
    assert fences == sum(2 if not b.output else 4 for b in found), "a block is not understood"
    return found


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with its output."""
    _, *parts = re.split(r"^\$ ", block.text, flags=re.M)
    return [(command, output) for command, _, output in (p.partition("\n") for p in parts)]


class Reader:
    """Somebody who does what the text says, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.session = folder, {"__name__": "__main__"}

    def does(self, block: Block) -> None:
        if "file" in block.options:
            (self.folder / block.options["file"]).write_text(block.text, "utf-8")
        elif block.kind == "python":
            compare(block, block.output, self.python(block))
        else:
            assert block.kind == "console", f"line {block.line}: nothing runs a {block.kind} block"
            for command, output in commands(block):
                compare(block, output, self.command(command, int(block.options.get("status", 0))))

    def python(self, block: Block) -> str:
        said = StringIO()
        with redirect_stdout(said):
            exec(compile(block.text, f"{TUTORIAL.name}:{block.line}", "exec"), self.session)
        return said.getvalue()

    def command(self, command: str, status: int) -> str:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env={**os.environ, "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, f"{command}: status {done.returncode}\n{done.stderr}"
        return f"{done.stderr}{done.stdout}" if status else done.stdout


def compare(block: Block, wanted: str, found: str) -> None:
    """The output is that of the text, measured errors apart."""
    wanted, found = (MEASURED.sub(r"  # # \1", text) for text in (wanted, found))
    same = doctest.OutputChecker().check_output(wanted, found, doctest.ELLIPSIS)
    assert same, f"line {block.line}, the text has\n{wanted}\nand this is printed:\n{found}"


STEPS = blocks(TUTORIAL.read_text("utf-8"))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Somebody in an empty folder, with an empty cache of kernels, who leaves no module behind."""
    folder = tmp_path_factory.mktemp("tutorial")
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAYERWISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.syspath_prepend(folder)
        yield Reader(folder)
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"line-{step.line}")
def test_the_text_is_what_happens(reader: Reader, step: Block) -> None:
    if "--pdf" in step.text and shutil.which("pdflatex") is None:
        pytest.skip("the derivation as PDF needs pdflatex (Debian: texlive-latex-base)")
    reader.does(step)


def test_all_of_it_is_run() -> None:
    run = [command for step in STEPS if step.kind == "console" for command, _ in commands(step)]
    assert [command.split()[1] for command in run if command.startswith("derive")] == [
        *("new", "show", "check", "latex", "check", "show")
    ]
    assert {step.kind for step in STEPS} == {"console", "python"}


# --- a text that is not true is refused


DAMAGED = {
    "another output": "```console\n$ echo one\ntwo\n```\n",
    "an output that is not there": "```console\n$ true\none\n```\n",
    "an output left out": "```console\n$ echo one\n```\n",
    "a line left out": "```console\n$ printf 'one\\ntwo\\n'\none\n```\n",
    "the second command": "```console\n$ true\n$ echo one\ntwo\n```\n",
    "a command that fails": "```console\n$ false\n```\n",
    "a mistake that is none": "```console status=1\n$ true\n```\n",
    "a law that fails": "```console\n$ echo 'a  law  1.0e-01  1.0e-02  FAIL  x'\n"
    "a  law  1.0e-01  1.0e-02  ok  x\n```\n",
    "another law": "```console\n$ echo 'a  law  1.0e-01  1.0e-02  ok  x'\n"
    "a  rule  1.0e-01  1.0e-02  ok  x\n```\n",
    "what Python prints": "```python\nprint(1)\n```\n\n```text\n2\n```\n",
    "what Python prints, left out": "```python\nprint(1)\n```\n",
    "a block that nothing runs": "```json\n{}\n```\n",
    "a block that is open": "```console\n$ true\n```\n\n```text\n",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_text_that_is_not_true_fails(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError):
        for block in blocks(text):
            Reader(tmp_path).does(block)


def test_a_text_that_is_true_passes(tmp_path: Path) -> None:
    text = (
        "```python file=one.py\nprint(1)\n```\n"
        "and\n```console\n$ python one.py\n1\n$ printf 'a\\nb\\nc\\n'\na\n...\nc\n```\n"
        "```console\n$ echo 'a  law  1.0e-01  2.0e-01  ok  x'\n"
        "a  law  3.0e-02  4.0e-01  ok  y\n```\n"
        "```python\nx = 1\n```\nthen\n```python\nprint(x)\n```\n\n```text\n1\n```\n"
    )
    reader = Reader(tmp_path)
    for block in blocks(text):
        reader.does(block)
