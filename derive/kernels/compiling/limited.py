"""Other programs, run with a limit of time: neither they nor what they started outlive it.

Only the standard library is imported here, as in `compile`.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field


class Stopped(Exception):
    """A program was ended, or not begun, because the work that it belongs to is given up."""


@dataclass
class Programs:
    """Programs that several threads run; each may take so many seconds, `stop` ends them all."""

    seconds: float
    _running: set[subprocess.Popen[str]] = field(default_factory=set, init=False)
    _stopped: bool = field(default=False, init=False)

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """What the program says; 127 and the reason where the system can't start it.

        Raises subprocess.TimeoutExpired, and Stopped once `stop` was called.
        """
        if self._stopped:
            raise Stopped
        try:
            process = _started(command)
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")
        self._running.add(process)
        try:
            with process:
                said = _said(process, self.seconds)
        finally:
            self._running.discard(process)
        if self._stopped:
            raise Stopped
        return subprocess.CompletedProcess(command, process.returncode, *said)

    def stop(self) -> None:
        """End the programs that run; no other one is begun."""
        self._stopped = True
        for process in tuple(self._running):
            _end(process)


def _started(command: Sequence[str]) -> subprocess.Popen[str]:
    """A session of its own: what a compiler starts, such as cc1, is ended with it."""
    return subprocess.Popen(
        command,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _said(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=seconds)
    except BaseException:  # too long, or interrupted: the keyboard does not reach its session
        _end(process)
        raise


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
