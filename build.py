"""Set up, build, test and show layerwise, given Python and a C compiler.

    python3 build.py                        build the library into generated/
    python3 build.py FILE.py [--out DIR]    build the layers that FILE.py declares
    python3 build.py --check                exit 1 where generated/ is not what would be emitted
    python3 build.py test [ARGUMENTS]       build, then run pytest with ARGUMENTS
    python3 build.py test --quick           in a minute: the laws on small layers, nothing compiled
    python3 build.py demo                   train a network on handwritten digits, build its kernels

The first run makes .venv beside this file, installs the project and what the verb needs there, and
runs this file again inside.  Later runs find that done.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 -- whoever starts this may have an older one
    sys.exit("build.py: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ".")

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "layerwise.json"  # empty at first; says what is installed once it is
# pytest's options: files of tests go to a process on each CPU, in the order of tests/conftest.py.
SHARED_OUT = ("--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder")
DEMO = ["mlp", "--out", str(HERE / "generated")]  # what examples/digits.py calls
EXTRAS: dict[str, set[str]] = {"build": set(), "demo": {"demo"}, "test": {"demo", "test"}}


def main(arguments: list[str]) -> None:
    verb, rest = parse(arguments)
    inside = Path(sys.prefix).resolve() == ENVIRONMENT
    with locked(HERE):
        if not is_whole(read_stamp()):
            require(not inside, f"{ENVIRONMENT} is damaged: run me with the Python outside of it.")
            require_venv()
            require_compiler()
            make_environment()
        install_missing(EXTRAS[verb])
    if not inside:
        os.execv(PYTHON, [str(PYTHON), str(HERE / "build.py"), *arguments])
    do(verb, rest)


def parse(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb, and the arguments that are handed on to its job."""
    if arguments[:1] in (["demo"], ["test"]):
        return arguments[0], arguments[1:]
    parser = argparse.ArgumentParser(
        "build.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE.py | test | demo", nargs="?", type=Path)
    parser.add_argument("--out", metavar="DIR", help="the folder for the modules of FILE.py")
    parser.add_argument("--check", action="store_true", help="compare generated/, write nothing")
    options = parser.parse_args(arguments)
    if options.file and not (options.file.suffix == ".py" and options.file.is_file()):
        parser.error(f"{options.file} is neither a Python file nor one of the verbs test, demo")
    return "build", arguments


def do(verb: str, rest: list[str]) -> None:
    """Run the verb's job; this is inside the environment."""
    quick = verb == "test" and "--quick" in rest
    if not quick and "--check" not in rest:
        require_compiler()
    if not quick:
        wanted = {"build": rest, "demo": DEMO, "test": []}[verb]
        run("-P", "-m", "derive", "build", *wanted)
    if verb == "test":
        run("-m", "pytest", *distribution(rest), *rest, folder=HERE)
    if verb == "demo":
        run(str(HERE / "examples" / "digits.py"), *rest, folder=HERE)


def distribution(rest: list[str]) -> tuple[str, ...]:
    """How the tests are shared out; `rest` may say otherwise, for the last of two options wins.

    Files that are named are left to one process: it is through before others have started.
    """
    named = any((HERE / word.partition("::")[0]).is_file() for word in rest)
    return () if named else SHARED_OUT


def run(*arguments: str, folder: Path | None = None) -> None:
    """Run Python with these arguments; end as it ends where it fails."""
    status = subprocess.run([sys.executable, *arguments], cwd=folder).returncode
    if status:
        sys.exit(status if status > 0 else 128 - status)  # 128 + signal, as a shell has it


# ------------------------------------------------------------------------ the environment


def is_whole(stamp: dict[str, Any]) -> bool:
    """Whether an environment was finished at this place and its Python is still the same."""
    return "python" in stamp and (stamp["place"], stamp["python"]) == (str(HERE), cache_tag())


def read_stamp() -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads(STAMP.read_text()))
    return {}


def cache_tag() -> str | None:
    """Implementation and version of the environment's Python, such as cpython-311."""
    program = "import sys; print(sys.implementation.cache_tag)"
    with suppress(OSError):
        done = subprocess.run([PYTHON, "-ISc", program], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None
    return None


def make_environment() -> None:
    """Make .venv anew; what another program made under that name is left alone."""
    ENVIRONMENT.mkdir(exist_ok=True)
    ours = STAMP.exists() or not any(ENVIRONMENT.iterdir())
    require(ours, f"{ENVIRONMENT} was not made by me: move it away, I need that name.")
    STAMP.write_text("{}\n")
    for path in ENVIRONMENT.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != STAMP:
            path.unlink()
    say(f"making .venv with Python {sys.version.split()[0]}")
    made = subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)])
    require(made.returncode == 0, "Python could not make .venv, see above.")


def install_missing(extras: set[str]) -> None:
    """Install the project, editable, with these extras and those that it already has."""
    stamp = read_stamp()
    wanted = {
        "place": str(HERE),  # neither an environment nor an editable install survives a move
        "python": cache_tag(),
        "pyproject": hashlib.sha256((HERE / "pyproject.toml").read_bytes()).hexdigest(),
        "extras": sorted(extras.union(stamp.get("extras", []))),
    }
    if stamp == wanted:
        return
    project = f".[{','.join(wanted['extras'])}]" if wanted["extras"] else "."
    say(f"installing layerwise into .venv ({project})")
    pip = [
        str(PYTHON),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-input",
    ]
    done = subprocess.run([*pip, "--editable", project], cwd=HERE)
    require(done.returncode == 0, "pip could not install what is needed, see above.")
    STAMP.write_text(json.dumps(wanted, indent=1) + "\n")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone; the system lets go of it when its holder dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


# ------------------------------------------------------------- what only the system can give


def require_venv() -> None:
    for module in ("venv", "ensurepip"):
        advice = "install the package python3-venv (Debian, Ubuntu) or a Python that is complete."
        require(find_spec(module) is not None, f"Python's module {module} is missing: {advice}")


def require_compiler() -> None:
    sys.path.insert(0, str(HERE))  # where Python was started with -P
    from derive.kernels.compiling.compiler import (
        CompilerMissing,
        find_compiler,
    )  # imports what this file does

    try:
        find_compiler()
    except CompilerMissing as missing:
        require(False, str(missing))


def require(condition: bool, sentence: str) -> None:
    if not condition:
        sys.exit(f"build.py: {sentence}")


def say(line: str) -> None:
    print(f"build.py: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
