"""Compile emitted Cython modules beside their source, and only those that changed.

    NAME.pyx -- Cython, all modules in this process --> NAME.c -- gcc, a few at a time --> NAME.so

C text and library are made in a private folder and the finished library is moved into place: no
file that is half made or loaded is ever written to.  Beside ``NAME.pyx`` stay

* ``NAME<ABI>.so``, the extension module;
* ``NAME.build.json``, a hash of all that the module was made of, and a hash of the library;
* ``NAME.build.log``, only after a failure: what Cython or the compiler said.

Only the standard library is imported here, and Cython once there is something to compile: a build
with nothing to do stays quick.
"""

import gc
import importlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory

from .compiler import LIMIT, NATIVE, Compiler, find_compiler, seconds
from .limited import Programs
from .locking import SCRATCH, locked
from .modules import (
    DIRECTIVES,
    EXTENSION,
    PACKAGE,
    RUNTIME,
    Module,
    Target,
    content_hash,
    file_hash,
)

MAC = sys.platform == "darwin"
LINK = ("-bundle", "-undefined", "dynamic_lookup") if MAC else ("-shared",)
LOAD = """
import sys
from importlib import util
util.module_from_spec(util.spec_from_file_location(*sys.argv[1:]))
"""
"""Maps a library and calls its PyInit, but does not run the module: it may import others."""

Progress = Callable[[str], object]


class CompileError(Exception):
    """Cython or the C compiler refused a module; the message ends with what it said."""


def compile_modules(
    modules: Sequence[Module],
    *,
    out: Path | None = None,
    flags: tuple[str, ...] = NATIVE,
    jobs: int = 2,
    progress: Progress = lambda line: None,
) -> list[Path]:
    """Compile what changed, beside each source or into ``out``, and return all the libraries.

    A module changed when one of these did: its text, its own ``.pxd``, a ``.pxd`` or ``.h`` of
    ``derive/runtime``, Cython, the Python ABI, the compiler, the flags, the CPU features that they
    stand for.  The C macro ``LAYERWISE_SOURCE_HASH`` is the SHA-256 of its ``.pyx``, as a string.
    A library is loaded once, in a process of its own, before it is moved into place.  ``progress``
    gets a line for each module compiled.  Processes take turns at a folder.

    Raises ``CompilerMissing`` before any work, and ``CompileError`` after every module had its
    turn; those that failed keep their former library, and the next call tries them again.
    """
    compiler = find_compiler(flags)
    folders = [(out or module.source.parent).resolve() for module in modules]
    targets = [
        Target(module, folder, file_hash(module.source), content_hash(module, compiler))
        for module, folder in zip(modules, folders, strict=True)
    ]
    with ExitStack() as locks:
        for folder in sorted(set(folders)):
            locks.enter_context(locked(folder))
        return build_stale(targets, compiler, jobs, progress)


def build_stale(
    targets: Sequence[Target], compiler: Compiler, jobs: int, progress: Progress
) -> list[Path]:
    """Build the targets that are not current, and return all libraries; folders are `locked`."""
    for target in targets:
        target.file(".build.log").unlink(missing_ok=True)
    stale = [target for target in targets if not target.is_current()]
    if stale:
        _build(stale, compiler, min(jobs, os.cpu_count() or 1), progress)
        importlib.invalidate_caches()
    return [target.file(EXTENSION) for target in targets]


def _build(targets: Sequence[Target], compiler: Compiler, jobs: int, progress: Progress) -> None:
    """Run Cython on one target after the other, and the compilers behind it."""
    finishing: list[Future[None]] = []
    programs = Programs(seconds())
    with ExitStack() as scratches, ThreadPoolExecutor(jobs) as pool:
        try:
            for target in targets:
                progress(f"compiling {target.module.name}")
                scratch = TemporaryDirectory(dir=target.folder, prefix=SCRATCH)
                folder = Path(scratches.enter_context(scratch))
                c_file = _translate(target, folder, "-Werror" in compiler.flags)
                finishing.append(pool.submit(_finish, target, c_file, compiler, programs))
            failures = [failure for future in finishing if (failure := future.exception())]
        except BaseException:
            programs.stop()
            pool.shutdown(cancel_futures=True)
            raise
    for failure in failures:
        if not isinstance(failure, CompileError):
            raise failure
    if failures:
        raise CompileError("\n\n".join(map(str, failures)))


def _translate(target: Target, scratch: Path, strict: bool) -> Path | CompileError:
    """Let Cython write the C file; where strict, a warning or a performance hint is an error."""
    from Cython import Utils
    from Cython.Compiler import Main

    module, c_file = target.module, scratch / f"{target.module.stem}.c"
    options = Main.CompilationOptions(
        include_path=[str(PACKAGE.parent), str(_package_view(module, scratch))],
        output_file=str(c_file),
        emit_linenums=True,  # the compiler then names lines of the .pyx
        language_level=3,
        compiler_directives={**DIRECTIVES, "emit_code_comments": False},  # nobody reads the C
    )
    Utils.clear_function_caches()  # it remembers which .pxd files were not there
    with redirect_stderr(io.StringIO()) as said, no_garbage_collection():
        result = Main.compile(str(module.source.resolve()), options, full_module_name=module.name)
    if result.num_errors or (strict and re.search(r"\.(pyx|pxd|pxi):\d+", said.getvalue())):
        return _failure(target, said.getvalue())
    return c_file


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Cython's trees live until it ends; looking for garbage among them is 40 % of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _package_view(module: Module, scratch: Path) -> Path:
    """A folder where the module's package is its source folder, wherever that lies."""
    source_folder = module.source.resolve().parent
    if not module.package:
        return source_folder
    link = scratch.joinpath("packages", *module.package)
    link.parent.mkdir(parents=True)
    link.symlink_to(source_folder, target_is_directory=True)
    return scratch / "packages"


def _finish(
    target: Target, c_file: Path | CompileError, compiler: Compiler, programs: Programs
) -> None:
    """Compile the C file and move the library, then its manifest, into place."""
    if isinstance(c_file, CompileError):
        raise c_file
    library, manifest = c_file.with_suffix(EXTENSION), c_file.with_suffix(".json")
    folders = [sysconfig.get_path("include"), sysconfig.get_path("platinclude"), RUNTIME]
    source_hash = f'-DLAYERWISE_SOURCE_HASH="{target.source_hash}"'
    command = [*compiler.command, *compiler.flags, "-DNDEBUG", "-fPIC", source_hash]
    command += [f"-I{folder}" for folder in folders]
    command += [*LINK, str(c_file), "-o", str(library), "-lm"]
    if fault := _compiled(command, programs) or _loaded(target.module, library, programs):
        raise _failure(target, fault)
    os.replace(library, target.file(EXTENSION))
    manifest.write_text(json.dumps(target.record(), indent=1) + "\n")
    os.replace(manifest, target.file(".build.json"))


def _compiled(command: Sequence[str], programs: Programs) -> str:
    """What the compiler said where it failed, else nothing."""
    try:
        done = programs.run(command)
    except subprocess.TimeoutExpired:
        return (
            f"the compiler {command[0]} has not ended within {programs.seconds:g} s; correct CC, "
            f"or set {LIMIT} to more"
        )
    silence = f"the compiler {command[0]} ended with {done.returncode} and said nothing"
    said = done.stderr if done.stderr.strip() else silence
    return said if done.returncode else ""


def _loaded(module: Module, library: Path, programs: Programs) -> str:
    """What is wrong with a library, found in a process of its own, which it may crash."""
    made = "the compiler ended without an error, but"
    if not library.exists():
        return f"{made} there is no library; correct CC"
    try:
        done = programs.run([sys.executable, "-IS", "-c", LOAD, module.name, str(library)])
    except subprocess.TimeoutExpired:
        return f"{made} its library takes longer than {programs.seconds:g} s to load; correct CC"
    said = done.stderr.strip().splitlines()[-1:] or [f"Python ended with {done.returncode}"]
    return f"{made} its library can't be loaded; correct CC: {said[0]}" if done.returncode else ""


def _failure(target: Target, said: str) -> CompileError:
    log = target.file(".build.log")
    log.write_text(said)
    end = "\n".join(said.strip().splitlines()[-25:])
    return CompileError(f"{target.module.name} does not compile (the whole is in {log}):\n{end}")
