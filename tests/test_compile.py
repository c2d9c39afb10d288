"""Compiling: once, again only after a change, and never halfway."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from derive.kernels.compiling import compile as subject
from derive.kernels.compiling import compiler as compiler_
from derive.kernels.compiling import locking, modules
from derive.kernels.compiling.compile import CompileError, compile_modules
from derive.kernels.compiling.compiler import CompilerMissing
from derive.kernels.compiling.modules import Module, file_hash

QUICK = ("-O0", "-Wall", "-Wextra", "-Werror")
TEXT = """\
cdef extern from *:
    const char *LAYERWISE_SOURCE_HASH

SOURCE_HASH = LAYERWISE_SOURCE_HASH.decode()

def quotient(int a, int b):
    return a // b
"""


def write(folder: Path, stem: str, text: str = TEXT) -> Module:
    source = folder / f"{stem}.pyx"
    source.write_text(text)
    return Module(stem, source)


def load(library: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(module: Module, **options) -> list[str]:
    """The progress lines of one call: one for each module that was compiled."""
    lines: list[str] = []
    compile_modules([module], progress=lines.append, **{"flags": QUICK, **options})
    return lines


def test_a_module_is_compiled_once_and_carries_its_source_hash(tmp_path, monkeypatch):
    module = write(tmp_path, "once")
    (library,) = compile_modules([module], flags=QUICK)
    made = load(library, "once")
    assert made.quotient(-7, 2) == -3  # the division of C
    assert file_hash(module.source) == made.SOURCE_HASH

    before = library.stat()
    monkeypatch.setattr(subject, "_translate", lambda *_: pytest.fail("Cython was called again"))
    assert compile_modules([module], flags=QUICK) == [library]
    assert (library.stat().st_mtime_ns, library.stat().st_ino) == (
        before.st_mtime_ns,
        before.st_ino,
    )


def test_only_the_declared_files_are_left(tmp_path):
    compiled(write(tmp_path, "tidy"))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("tidy.pyx", "tidy.build.json", f"tidy{modules.EXTENSION}")
    }


def test_a_change_of_text_flags_or_library_compiles_again(tmp_path, monkeypatch):
    module = write(tmp_path, "changing")
    assert compiled(module) == ["compiling changing"]
    assert compiled(module) == []
    write(tmp_path, "changing", TEXT.replace("a // b", "a * b"))
    assert compiled(module) == ["compiling changing"]
    assert compiled(module, flags=(*QUICK, "-funroll-loops")) == ["compiling changing"]
    (tmp_path / f"changing{modules.EXTENSION}").write_bytes(b"damaged")
    assert compiled(module, flags=(*QUICK, "-funroll-loops")) == ["compiling changing"]
    assert load(tmp_path / f"changing{modules.EXTENSION}", "changing").quotient(7, 2) == 14


@pytest.mark.parametrize("name", ["runtime/tool.pxd", "runtime/tool.h", "reader.pxd"])
def test_a_change_of_a_header_changes_the_hash(tmp_path, monkeypatch, name):
    (tmp_path / "runtime").mkdir()
    (tmp_path / name).write_text("one")
    monkeypatch.setattr(modules, "RUNTIME", tmp_path / "runtime")
    module, compiler = write(tmp_path, "reader"), compiler_.find_compiler(QUICK)
    before = modules.content_hash(module, compiler)
    assert modules.content_hash(module, compiler) == before
    (tmp_path / name).write_text("two")
    assert modules.content_hash(module, compiler) != before


def test_a_new_cython_or_cpu_changes_the_hash(tmp_path, monkeypatch):
    module, compiler = write(tmp_path, "reader"), compiler_.find_compiler(QUICK)
    before = modules.content_hash(module, compiler)
    other_cpu = compiler_.Compiler(
        compiler.command, compiler.flags, (*compiler.identity, "__AVX9__")
    )
    assert modules.content_hash(module, other_cpu) != before
    monkeypatch.setattr(modules, "version", lambda _: "99.0")
    assert modules.content_hash(module, compiler) != before


def test_the_hash_of_texts_is_that_of_their_files(tmp_path):
    module, compiler = write(tmp_path, "reader"), compiler_.find_compiler(QUICK)
    (tmp_path / "reader.pxd").write_text("one")
    texts = {"reader.pyx": TEXT.encode(), "reader.pxd": b"one"}
    whole = modules.content_hash(module, compiler)
    assert modules.text_hash("reader", texts, compiler) == whole
    assert modules.text_hash("reader", {**texts, "reader.pxd": b"two"}, compiler) != whole
    assert modules.text_hash("writer", texts, compiler) != whole


def test_a_package_may_lie_anywhere_and_be_cimported(tmp_path):
    """As ``generated/`` is the package derive.generated, though not a folder of ``derive/``."""
    first, second = tmp_path / "first.pyx", tmp_path / "second.pyx"
    first.write_text("cdef double half(double x) noexcept nogil:\n    return x / 2\n")
    second.write_text(
        "from far.away.first cimport half\n\ndef quarter(double x):\n    return half(half(x))\n"
    )
    (tmp_path / "first.pxd").write_text("cdef double half(double x) noexcept nogil\n")
    modules = [Module("far.away.first", first), Module("far.away.second", second)]
    compile_modules(modules, flags=QUICK)
    program = (
        "import sys, types\n"
        "for name in ['far', 'far.away']:\n"
        "    sys.modules[name] = types.ModuleType(name)\n"
        f"    sys.modules[name].__path__ = [{str(tmp_path)!r}]\n"
        "from far.away.second import quarter\n"
        "assert quarter(6.0) == 1.5\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_declaration_file_that_was_missing_is_found_once_it_is_there(tmp_path):
    reader = write(tmp_path, "reader", "from constants cimport four\n\nnumber = four\n")
    with pytest.raises(CompileError, match=r"constants.*not found"):
        compiled(reader)
    (tmp_path / "constants.pxd").write_text("cdef enum:\n    four = 4\n")
    assert compiled(reader) == ["compiling reader"]


def test_an_error_of_cython_names_file_and_line(tmp_path):
    module = write(tmp_path, "wrong", TEXT.replace("a // b", "a // c"))
    with pytest.raises(
        CompileError, match=r"(?s)^wrong does not compile.*wrong\.pyx:7:\d+: .*\bc\b"
    ):
        compiled(module)
    assert "wrong.pyx:7" in (tmp_path / "wrong.build.log").read_text()


def test_a_performance_hint_of_cython_is_an_error_where_warnings_are(tmp_path):
    text = "cdef void f() nogil:\n    pass\n\ndef g():\n    with nogil:\n        f()\n"
    with pytest.raises(CompileError, match=r"hint\.pyx:1"):
        compiled(write(tmp_path, "hint", text))
    assert compiled(write(tmp_path, "hint", text), flags=("-O0",)) == ["compiling hint"]


def test_an_error_of_the_compiler_names_the_line_of_the_pyx(tmp_path):
    text = (
        TEXT
        + "\ncdef extern from *:\n    double nowhere(double)\n"
        + "\ndef f(double x):\n    return nowhere(x)\n"
    )
    with pytest.raises(CompileError, match=r"refused\.pyx:13:.*nowhere"):
        compiled(write(tmp_path, "refused", text))


def test_a_failure_keeps_the_former_library_and_is_tried_again(tmp_path):
    module = write(tmp_path, "kept")
    library = tmp_path / f"kept{modules.EXTENSION}"
    compiled(module)
    former = library.read_bytes()
    write(tmp_path, "kept", "cdef extern from 'absent.h':\n    pass\n")
    for _ in range(2):
        with pytest.raises(CompileError, match=r"absent\.h"):
            compiled(module)
        assert library.read_bytes() == former
        assert {path.name for path in tmp_path.iterdir()} == {
            *("kept.pyx", "kept.build.json", "kept.build.log", library.name)
        }
    write(tmp_path, "kept")
    assert compiled(module) == []  # the former text again: its library still stands
    assert not (tmp_path / "kept.build.log").exists()


def test_one_failure_does_not_stop_the_others(tmp_path):
    wrong, right = write(tmp_path, "wrong", "def f(:\n"), write(tmp_path, "right")
    with pytest.raises(CompileError, match="wrong does not compile"):
        compile_modules([wrong, right], flags=QUICK)
    assert compiled(right) == []


def test_libraries_go_to_the_folder_asked_for(tmp_path):
    module = write(tmp_path, "elsewhere")
    (library,) = compile_modules([module], out=tmp_path / "out", flags=QUICK)
    assert library.parent == tmp_path / "out"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["elsewhere.pyx"]


def test_builders_of_one_folder_take_turns(tmp_path):
    """Both wait for the test's lock; then one compiles and the other finds nothing to do."""
    module = write(tmp_path, "shared")
    program = (
        "import sys; from pathlib import Path; from derive.kernels.compiling.compile import *\n"
        f"module = Module('shared', Path({str(module.source)!r}))\n"
        f"compile_modules([module], flags={QUICK!r}, progress=print)\n"
    )
    (tmp_path / ".build-abandoned").mkdir()
    with locking.locked(tmp_path):
        assert not (tmp_path / ".build-abandoned").exists()
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdout=subprocess.PIPE,
                text=True,
                cwd=modules.PACKAGE.parent,
            )
            for _ in range(2)
        ]
        with pytest.raises(subprocess.TimeoutExpired):
            both[0].wait(0.5)
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["", "compiling shared\n"]


def test_without_locks_the_scratch_of_others_is_left(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(locking.fcntl, "flock", no_locks)
    (tmp_path / f"{locking.SCRATCH}other").mkdir()
    assert compiled(write(tmp_path, "alone")) == ["compiling alone"]
    assert (tmp_path / f"{locking.SCRATCH}other").exists()


def test_a_missing_compiler_is_a_sentence_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent/cc -O1")
    with pytest.raises(
        CompilerMissing,
        match=r"^The C compiler /nonexistent/cc -O1 that CC names .* package gcc\.$",
    ):
        compiled(write(tmp_path, "orphan"))
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(compiler_.sysconfig, "get_config_var", lambda _: "some-cc -pthread")
    with pytest.raises(CompilerMissing, match=r"^No C compiler was found .* packages gcc "):
        compiled(write(tmp_path, "orphan"))
    assert os.listdir(tmp_path) == ["orphan.pyx"]


def test_a_compiler_that_does_not_run_is_a_sentence(monkeypatch):
    monkeypatch.setenv("CC", "false")
    with pytest.raises(
        CompilerMissing, match="does not work: install the package gcc, or correct CC"
    ):
        compiler_.find_compiler()


def test_a_missing_python_h_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler_.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(CompilerMissing, match=r"Python\.h is missing: .* package python3-dev "):
        compiled(write(tmp_path, "orphan"))


def test_flags_that_change_the_whole_process_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="-ffast-math"):
        compiler_.find_compiler(("-O2", "-ffast-math"))
    monkeypatch.setenv("CC", "cc -Ofast")
    with pytest.raises(ValueError, match="-Ofast"):
        compiler_.find_compiler()


def test_flags_of_another_machine_are_dropped():
    flags = compiler_.find_compiler(("-O2", "-march=no-such-machine")).flags
    assert flags == ("-O2",)


def test_a_compiler_is_asked_twice_where_it_takes_all_flags(monkeypatch):
    asked, run = [], compiler_._run
    monkeypatch.setattr(compiler_, "_run", lambda command: asked.append(command) or run(command))
    known = compiler_.find_compiler(("-O2", "-march=native"))
    assert len(asked) == 2
    found = compiler_.find_compiler(("-O2", "-march=native", "-march=no-such-machine"))
    assert len(asked) > 4 and found == known


@pytest.mark.parametrize(
    "name, file", [("a-b", "a-b.pyx"), ("a..b", "b.pyx"), ("a/b", "b.pyx"), ("a.b", "c.pyx")]
)
def test_a_module_has_a_checked_name(name, file):
    with pytest.raises(ValueError, match="module"):
        Module(name, Path(file))


def test_native_flags_compile_cython_without_a_warning(tmp_path):
    """Buffers, a class, keywords, fused types, nogil, under -Wall -Wextra -Werror."""
    text = '''
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_WRITABLE
from cpython.buffer cimport PyBuffer_Release, PyObject_GetBuffer

ctypedef fused real:
    float
    double

cdef void scale(real *x, Py_ssize_t n, real a) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = a * x[i]

def run(x, double a=2, *, times=None):
    """Scale the array ``x``."""
    cdef Py_buffer b
    PyObject_GetBuffer(x, &b, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_ND)
    try:
        for _ in range(times or 1):
            if b.format[0] == b'd':
                with nogil:
                    scale[double](<double *>b.buf, b.shape[0], a)
            else:
                with nogil:
                    scale[float](<float *>b.buf, b.shape[0], <float>a)
    finally:
        PyBuffer_Release(&b)

cdef class Bound:
    """Holds an array."""
    cdef object x

    def __init__(self, x):
        self.x = x

    def __call__(self, **names):
        if names:
            raise TypeError(f"unknown: {sorted(names)}, expected {', '.join(['a', 'b'])}")
        return [a for a in self.x]
'''
    (library,) = compile_modules([write(tmp_path, "whole", text)])
    whole = load(library, "whole")
    numbers = memoryview(bytearray(24)).cast("d")
    numbers[1] = 1.5
    whole.run(numbers, times=2)
    assert whole.Bound(numbers)() == [0.0, 6.0, 0.0]
