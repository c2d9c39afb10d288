"""The C compiler: which one it is, the flags that it takes, and how long it may work.

Only the standard library is imported here: on a bare machine ``build.py`` asks this module for a
compiler.
"""

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .limited import Programs

MACHINE = ("-march=native", "-mtune=generic", "-mprefer-vector-width=512")
ARITHMETIC = ("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast")
# The compiler does not see that one pointer is asked for wherever another is; the checks of
# `interpret` find every read of what was not written, and know.
WARNINGS = ("-Wall", "-Wextra", "-Wno-maybe-uninitialized")
# Half the time of -O3, with all that it does for loops: vectors, and conditions taken out.
LOOPS = ("-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic", "-funswitch-loops")
NATIVE = (*LOOPS, *MACHINE, *ARITHMETIC)
"""Flags for this machine; the optional ones are used only where the compiler knows them."""
STRICT = (*NATIVE, *WARNINGS, "-Werror")
"""For the library in a checkout; a user's newer compiler may warn of what none did before."""
OPTIONAL = ("-m", "-Wno-", "-fvect", "-funswitch")

# Linking with one of these turns on flush-to-zero for the whole process.
UNSAFE = {"-ffast-math", "-funsafe-math-optimizations", "-Ofast"}
LIMIT = "LAYERWISE_COMPILER_SECONDS"
SECONDS, ANSWER = 600.0, 60.0
"""How long a compiler may take for a module, and to say what it is."""


class CompilerMissing(Exception):
    """There is no C compiler or no Python.h; the message names the package to install."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler, its flags, and all that decides what it makes of a text (``identity``)."""

    command: tuple[str, ...]
    flags: tuple[str, ...]
    identity: tuple[str, ...]


ANY = Compiler((), (), ())
"""In place of a compiler: what is hashed with it is the same for all."""


def find_compiler(flags: tuple[str, ...] = NATIVE) -> Compiler:
    """The C compiler of ``$CC``, else the one that made Python, else cc, gcc or clang.

    Raises ``CompilerMissing`` where it or Python.h is missing, and ``ValueError`` for a flag that
    changes floating-point arithmetic in the whole process.
    """
    command = _command()
    if unsafe := UNSAFE.intersection((*command, *flags)):
        raise ValueError(f"{min(unsafe)} changes arithmetic in the whole process: leave it out")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.exists():
        raise CompilerMissing(
            f"{header} is missing: install the package python3-dev (Debian, Ubuntu) or "
            "python3-devel (Fedora, openSUSE)."
        )
    try:
        return _asked(command, flags)
    except subprocess.TimeoutExpired as error:
        raise CompilerMissing(
            f"The C compiler {shlex.join(command)} has not said within {error.timeout:g} s what it "
            "is: install the package gcc, or correct CC."
        ) from error


def stamp() -> tuple[object, ...]:
    """The command of the compiler and the state of its file: what is the same is one compiler.

    Raises ``CompilerMissing`` where there is none.
    """
    command = _command()
    found = os.stat(command[0])
    return (*command, found.st_ino, found.st_size, found.st_mtime_ns)


def _asked(command: tuple[str, ...], flags: tuple[str, ...]) -> Compiler:
    """The compiler of a command, by its own answers."""
    told, taken = _run([*command, "--version"]), flags
    macros = _macros(command, (*flags, "-Werror"))
    if macros.returncode:  # a flag is another compiler's or another machine's
        taken = tuple(f for f in flags if not f.startswith(OPTIONAL) or _takes(command, f))
        macros = _macros(command, taken)
    if told.returncode or macros.returncode:
        raise CompilerMissing(
            f"The C compiler {shlex.join(command)} does not work: install the package gcc, or "
            f"correct CC. {(told.stderr or macros.stderr).strip()[-300:]}".strip()
        )
    # The predefined macros tell what -march=native stands for on this CPU.
    identity = (*command, *taken, told.stdout, *sorted(macros.stdout.splitlines()))
    return Compiler(command, taken, identity)


def _command() -> tuple[str, ...]:
    named = os.environ.get("CC", "").strip()
    usual = (sysconfig.get_config_var("CC") or "cc", "cc", "gcc", "clang")
    for text in (named,) if named else usual:
        program, *options = _words(text)
        if path := shutil.which(program):
            return (path, *options)
    if named:
        raise CompilerMissing(
            f"The C compiler {named} that CC names was not found: install it, or unset CC and "
            "install the package gcc."
        )
    raise CompilerMissing(
        "No C compiler was found (cc, gcc or clang): install the packages gcc and libc6-dev "
        "(Debian, Ubuntu), gcc (elsewhere) or Apple's command line tools."
    )


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise CompilerMissing(
            f"CC is {text}, where a quotation mark has no second one: correct CC, or unset it and "
            "install the package gcc."
        ) from error


def _macros(command: tuple[str, ...], flags: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return _run([*command, *flags, "-dM", "-E", "-x", "c", "-"])


def _takes(command: tuple[str, ...], flag: str) -> bool:
    return _run([*command, "-Werror", flag, "-fsyntax-only", "-x", "c", "-"]).returncode == 0


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return Programs(min(seconds(), ANSWER)).run(command)


def seconds() -> float:
    """How long the compiler may take for one module; raises ValueError for what is no time."""
    text = os.environ.get(LIMIT, "").strip() or str(SECONDS)
    number = float(text) if re.fullmatch(r"[0-9]*\.?[0-9]+", text) else 0.0
    if number <= 0:
        raise ValueError(f"{LIMIT} is {text!r}: give a number of seconds above 0, or unset it")
    return number
