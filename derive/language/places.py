"""Where in a user's file something is declared or went wrong: the file, the line and its text."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType


@dataclass(frozen=True)
class SourceLine:
    """A line of a file; its text is read when it is asked for."""

    file: str
    line: int

    @property
    def text(self) -> str:
        """The line itself, "" where it can't be read."""
        linecache.checkcache(self.file)
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


def place_of(code: CodeType) -> SourceLine:
    """Where a function begins, with its decorators."""
    return SourceLine(code.co_filename, code.co_firstlineno)


def innermost(error: BaseException, file: str) -> SourceLine | None:
    """The last line of a file that an error, or what caused it, passed through; None if none."""
    for failure in reversed([*_causes(error)]):
        frames = traceback.walk_tb(failure.__traceback__)
        lines = [line for frame, line in frames if frame.f_code.co_filename == file]
        if lines:
            return SourceLine(file, lines[-1])
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
