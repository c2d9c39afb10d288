"""The build backend of this project (PEP 517): a wheel's kernels are compiled when it is made.

Only pip calls this, from a checkout or an unpacked source distribution; no wheel contains it.

* A wheel has every module compiled for the baseline of its platform; the intermediate files of
  setuptools and the compiler go to a temporary folder, so the checkout stays clean.
* A source distribution has the checkout's files without build products.
* An editable install compiles nothing; `derive build` does, for the machine it runs on.
"""

import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup
from setuptools.build_meta import (
    build_editable,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError as Refused

from ...kernels.compiling.compile import CompileError, compile_modules
from ...kernels.compiling.compiler import ARITHMETIC, LOOPS, CompilerMissing
from ...kernels.compiling.modules import Module

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

# A wheel runs on other machines, so it is built for the oldest x86-64, whatever the default of this
# compiler or CC.  Compilers for other processors refuse the flags and keep their own baseline.
BASELINE = ("-march=x86-64", "-mtune=generic")
# No -Werror and no warnings: the user's compiler may warn where ours does not.
SHIPPED = (*LOOPS, *BASELINE, *ARITHMETIC)

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = {"derive.runtime": ROOT / "derive" / "runtime", "derive.generated": ROOT / "generated"}
HIDDEN = (".ci", ".gitattributes", ".gitignore")
FOLDERS = ("benchmarks", "derive", "docs", "examples", "generated", "templates", "tests")
PAGES = ("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "README.md", "SECURITY.md")
PROJECT = (*HIDDEN, *FOLDERS, *PAGES, "LICENSE", "build.py", "pyproject.toml")
MADE = (".so", ".pyd", ".c", ".pyc", ".build.json", ".build.log")

Settings = Mapping[str, object] | None


class Kernels(build_ext):
    """Compile each package's modules; only the libraries go into the wheel."""

    def run(self) -> None:
        for package in PACKAGES:
            for library in compiled(package, Path(self.build_temp)):
                folder = Path(self.build_lib, *package.split("."))
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(library, folder)


def compiled(package: str, scratch: Path) -> list[Path]:
    """Compile a package's modules into a folder of their own; the libraries."""
    try:
        return compile_modules(
            modules(package),
            out=scratch / package,
            flags=SHIPPED,
            jobs=os.cpu_count() or 1,
            progress=print,
        )
    except (CompilerMissing, CompileError) as error:
        raise Refused(str(error)) from error


def modules(package: str) -> list[Module]:
    """The extension modules of a package, one for each .pyx."""
    sources = sorted(PACKAGES[package].glob("*.pyx"))
    return [Module(f"{package}.{source.stem}", source) for source in sources]


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Build the wheel for this Python and platform into a folder; the name of its file."""
    found = [module for package in PACKAGES for module in modules(package)]
    with TemporaryDirectory(prefix="layerwise-") as scratch:
        setup(
            script_name="setup.py",
            script_args=[
                *("egg_info", "--egg-base", scratch),
                *("build", "--build-base", scratch),
                *("bdist_wheel", "--dist-dir", f"{scratch}/dist"),
            ],
            cmdclass={"build_ext": Kernels},
            ext_modules=[Extension(module.name, [str(module.source)]) for module in found],
        )
        (wheel,) = Path(scratch, "dist").iterdir()
        return Path(shutil.move(wheel, wheel_directory)).name


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    """Pack the project's files as NAME-VERSION.tar.gz into a folder; the name of the file."""
    with TemporaryDirectory(prefix="layerwise-") as scratch:
        info = prepare_metadata_for_build_wheel(scratch)
        stem = info.removesuffix(".dist-info")
        with tarfile.open(Path(sdist_directory, f"{stem}.tar.gz"), "w:gz") as archive:
            archive.add(Path(scratch, info, "METADATA"), f"{stem}/PKG-INFO", filter=anonymous)
            for path in project_files():
                name = f"{stem}/{path.relative_to(ROOT)}"
                archive.add(path, name, recursive=False, filter=anonymous)
    return f"{stem}.tar.gz"


def project_files() -> Iterator[Path]:
    """The files of the checkout, without build products and caches."""
    for top in PROJECT:
        for path in [ROOT / top, *sorted((ROOT / top).rglob("*"))]:
            scratch = any(part.startswith(".build-") for part in path.relative_to(ROOT).parts)
            if path.is_file() and not scratch and not path.name.endswith(MADE):
                yield path


def anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member, without the user and group of the machine where it is packed."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
