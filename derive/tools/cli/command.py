"""A command is parsed and run, and ends with an exit status; an error is one line on stderr."""

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
INTERRUPTED = 130  # 128 + SIGINT, as in a shell


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command: 0 for success, 1 for an error, 130 if it was interrupted.

    Raises SystemExit(2) for a usage error.
    """
    options = parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
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
