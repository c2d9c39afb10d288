"""The compiler: one that hangs, lies or can't be named is a sentence, and nothing of it is kept."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from installing import contents
from test_compile import QUICK, compiled, load, write

from derive.kernels.compiling import compiler
from derive.kernels.compiling.compile import LINK, CompileError, compile_modules
from derive.kernels.compiling.compiler import LIMIT, CompilerMissing, find_compiler
from derive.kernels.compiling.limited import Programs, Stopped
from derive.kernels.compiling.modules import EXTENSION, RUNTIME, is_made_of_its_texts
from derive.tools import build
from derive.tools.build import build_runtime


def script(folder: Path, *lines: str) -> str:
    """A C compiler that does something else for a library, whose path is $last."""
    path = folder / "compiler"
    last = f'for word in "$@"; do case "$word" in *{EXTENSION}) last=$word;; esac; done'
    library = ('case "$*" in *-shared*)', last, *lines, ";; esac")
    path.write_text("\n".join(["#!/bin/sh", *library, 'exec cc "$@"']) + "\n")
    path.chmod(0o755)
    return str(path)


# --- what ends well and has made nothing that loads


CRASH = "void PyInit_made(void) { *(volatile int *) 0 = 1; }"
LIES = {
    "nothing": (["exit 0"], r"ended without an error, but there is no library; correct CC$"),
    "no library": (['echo text > "$last"; exit 0'], r"its library can't be loaded; correct CC: \w"),
    "half of it": (
        ['cc "$@" && truncate -s 5000 "$last"; exit 0'],
        r"its library can't be loaded; correct CC: ",
    ),
    "no module": (
        [f'echo "int one;" | cc {LINK[0]} -fPIC -x c - -o "$last"; exit 0'],
        r"can't be loaded; correct CC: .*PyInit_made",
    ),
    "crashes": (
        [f'echo "{CRASH}" | cc {LINK[0]} -fPIC -x c - -o "$last"; exit 0'],
        rf"can't be loaded; correct CC: Python ended with -{signal.SIGSEGV.value}$",
    ),
}


@pytest.mark.parametrize(("lines", "sentence"), LIES.values(), ids=LIES)
def test_what_does_not_load_is_a_sentence_and_is_never_kept(tmp_path, monkeypatch, lines, sentence):
    module = write(tmp_path, "made")
    monkeypatch.setenv("CC", script(tmp_path, *lines))
    with pytest.raises(CompileError, match=sentence):
        compiled(module)
    left = {"made.pyx", "made.build.log", "compiler"}
    assert {path.name for path in tmp_path.iterdir()} == left
    script(tmp_path)  # the same command, mended
    assert compiled(module) == ["compiling made"]
    assert load(tmp_path / f"made{EXTENSION}", "made").quotient(7, 2) == 3


def test_a_failure_without_a_word_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", script(tmp_path, "exit 3"))
    with pytest.raises(CompileError, match=r"compiler ended with 3 and said nothing$"):
        compiled(write(tmp_path, "made"))


# --- what does not end


def is_running(pid: int) -> bool:
    """Neither gone nor waiting to be counted."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(") ")[2][0] != "Z"


def test_a_compiler_that_hangs_is_a_sentence_and_ends_with_what_it_started(tmp_path, monkeypatch):
    hangs = [f"sleep 100 & echo $! > '{tmp_path}/pid'; wait"]
    monkeypatch.setenv("CC", script(tmp_path, *hangs))
    monkeypatch.setenv(LIMIT, "0.5")
    begin = time.monotonic()
    with pytest.raises(CompileError, match=rf"has not ended within 0.5 s; .* set {LIMIT} to more"):
        compiled(write(tmp_path, "made"))
    assert time.monotonic() - begin < 30  # and not 100
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_compiler_that_does_not_say_what_it_is_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "hangs").write_text("#!/bin/sh\nsleep 100\n")
    (tmp_path / "hangs").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "hangs"))
    monkeypatch.setattr(compiler, "ANSWER", 0.2)
    with pytest.raises(CompilerMissing, match=r"hangs has not said within 0\.2 s what it is: "):
        find_compiler()


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf", "1e9"])
def test_a_limit_that_is_no_time_is_a_sentence(monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(ValueError, match=f"{LIMIT} is '{text}': give a number of seconds above 0"):
        find_compiler()


def test_what_runs_is_ended_when_the_work_is_given_up(tmp_path):
    programs, raised = Programs(100), []

    def work() -> None:
        with pytest.raises(Stopped):
            programs.run(["sh", "-c", f"sleep 100 & echo $! > '{tmp_path}/pid'; wait"])
        raised.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    programs.stop()
    thread.join(30)
    assert raised == [True] and not is_running(int((tmp_path / "pid").read_text()))
    with pytest.raises(Stopped):
        programs.run(["true"])


def test_an_interrupt_ends_the_compiler(tmp_path, monkeypatch):
    module = write(tmp_path, "made")
    hangs = [f"sleep 100 & echo $! > '{tmp_path}/pid'; wait"]
    program = (
        "from pathlib import Path; from derive.kernels.compiling.compile import *\n"
        f"compile_modules([Module('made', Path({str(module.source)!r}))], flags={QUICK!r})\n"
    )
    here = {**os.environ, "CC": script(tmp_path, *hangs)}
    process = subprocess.Popen([sys.executable, "-c", program], env=here, stderr=subprocess.PIPE)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert not is_running(int((tmp_path / "pid").read_text()))
    assert {path.name for path in tmp_path.iterdir()} == {"made.pyx", "compiler", "pid"}


# --- what can't be named


NAMED = {
    'gcc "': r"^CC is gcc \", where a quotation mark has no second one: correct CC, or unset it",
    "gcc '-O2": r"^CC is gcc '-O2, where a quotation mark has no second one",
    '""': r"^The C compiler \"\" that CC names was not found",
    "/": r"^The C compiler / that CC names was not found",
}


@pytest.mark.parametrize(("name", "sentence"), NAMED.items(), ids=NAMED)
def test_a_compiler_that_cannot_be_named_is_a_sentence(monkeypatch, name, sentence):
    monkeypatch.setenv("CC", name)
    with pytest.raises(CompilerMissing, match=sentence):
        find_compiler()


def test_a_compiler_that_the_system_cannot_start_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "cc").write_bytes(b"\x7fELF and no more")
    (tmp_path / "cc").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    with pytest.raises(CompilerMissing, match=r"does not work: .*/cc: Exec format error$"):
        find_compiler()


# --- the package is not written by a user's build


def test_a_library_is_made_of_its_texts_whatever_compiler_made_it(tmp_path):
    module = write(tmp_path, "made")
    assert not is_made_of_its_texts(module)
    (library,) = compile_modules([module], flags=(*QUICK, "-funroll-loops"))
    assert is_made_of_its_texts(module)
    whole = library.read_bytes()
    library.write_bytes(whole[:-1])
    assert not is_made_of_its_texts(module)
    library.write_bytes(whole)
    module.source.write_text(module.source.read_text() + "\n")
    assert not is_made_of_its_texts(module)


def test_another_compiler_leaves_the_package_as_it_is(tmp_path, monkeypatch):
    lines: list[str] = []
    build_runtime(lines.append)
    before = contents(RUNTIME)
    monkeypatch.setenv("CC", f"{script(tmp_path)} -fno-inline")
    lines.clear()
    build_runtime(lines.append)
    assert lines == [] and contents(RUNTIME) == before


def test_a_checkout_without_an_edge_that_cannot_be_written_is_a_sentence(monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(build, "is_made_of_its_texts", lambda module: False)
    monkeypatch.setattr(build, "compile_modules", refuse)
    with pytest.raises(build.BuildError, match=r"runtime, which can't be written \(Permission den"):
        build_runtime()
