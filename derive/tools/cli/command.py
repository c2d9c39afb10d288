"""A command is parsed, run, and ends with a status; what is wrong is one sentence on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ...kernels.compiling.compile import CompileError
from ...kernels.compiling.compiler import CompilerMissing
from ...writing.layers.claims import FalseEquation
from ..cache_folder import CacheError
from ..loading import BuildError
from .parser import parser
from .reports import say

FAILURES = (
    BuildError,
    CacheError,
    CompileError,
    CompilerMissing,
    FalseEquation,
    TypeError,
    ValueError,
)
INTERRUPTED = 130  # 128 + SIGINT, as a shell has it


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command: 0 for success, 1 where something is wrong, 130 where it was interrupted.

    Raises SystemExit(2) for a wrong command line.
    """
    options = parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        say(f"derive {options.verb}: interrupted")
        return INTERRUPTED
    except FAILURES as error:
        say(f"derive {options.verb}: {error}")
    except OSError as error:
        say(f"derive {options.verb}: {error.filename or 'a file'}: {error.strerror or error}")
    return 1
