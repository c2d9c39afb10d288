"""The edge in Python, for where the compiled one can't be had: the same calls, checks, sentences.

`derive/runtime/edge.pyx` says what a call takes, `derive/runtime/checks.py` when it is refused.
A kernel here is given the addresses of two functions, too.  It hands them the sizes and the
addresses of the arrays, after all checks.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from inspect import Signature
from typing import Any

from ...runtime.called import DTYPES, Call
from ...runtime.checks import check, ranges
from ...runtime.declare import Argument, Declaration
from ...runtime.slots import Slots

Called = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_ssize_t), ctypes.POINTER(ctypes.c_void_p))


class Kernel:
    """A kernel behind its checks, under the protocol of `derive.runtime.edge.Kernel`."""

    def __init__(
        self,
        name: str,
        *,
        sizes: tuple[str, ...],
        arguments: tuple[Argument, ...],
        results: tuple[Argument, ...],
        mode: str,
        saved: Callable[..., int] | None,
        saved_role: str | None,
        workspace: Callable[..., int] | None,
        within: tuple[Callable[..., int], ...] = (),
        float64: int,
        float32: int,
    ) -> None:
        self.declaration = Declaration(name, sizes, arguments, results, mode, saved_role)
        self.name, self.sizes, self.arguments, self.results = name, sizes, arguments, results
        self.mode, self.saved_role = mode, saved_role
        self._slots = Slots(self.declaration, saved, workspace, within)
        self._functions = dict(zip(DTYPES, map(Called, (float64, float32)), strict=True))

    @property
    def __signature__(self) -> Signature:
        return self.declaration.signature()

    def __call__(self, /, *given: Any, **named: Any) -> Any:
        return self._run(check(Call(self._slots, False, given, **named)))

    def bind(self, /, *given: Any, **named: Any) -> Bound:
        """Check arrays once and hold them; all are NumPy arrays that need no copy."""
        return Bound(self, check(Call(self._slots, True, given, **named)))

    def _run(self, call: Call) -> Any:
        if not call.asked:
            return call.results
        sizes = call.known().values()
        addresses = [None if array is None else array.ctypes.data for array in call.arrays]
        self._functions[call.dtype](
            (ctypes.c_ssize_t * len(sizes))(*sizes), (ctypes.c_void_p * len(addresses))(*addresses)
        )
        return call.results

    def saved_size(self, **sizes: int) -> int:
        """How many elements `saved` has at these sizes (all of them, batch too); 0 if none."""
        return self._slots.saved_size(sizes)

    def workspace_size(self, **sizes: int) -> int:
        """How many elements `workspace` needs at these sizes (all of them, batch too)."""
        return self._slots.workspace_size(sizes)

    def __repr__(self) -> str:
        return f"<Kernel {self.name}{self.__signature__}>"


class Bound:
    """A kernel with the arrays of one call: checked once, held, run as often as called.

    Indices and masks are checked again at each call.  Not re-entrant: a call while one is running
    raises RuntimeError.  In the child of a fork it is free, whatever ran in the parent.
    """

    def __init__(self, kernel: Kernel, call: Call) -> None:
        self.kernel, self.results = kernel, call.results
        self._call = call
        self._turn, self._process = threading.Lock(), os.getpid()

    def __call__(self) -> Any:
        if self._process != os.getpid():
            self._turn, self._process = threading.Lock(), os.getpid()
        if not self._turn.acquire(blocking=False):
            raise RuntimeError(
                f"{self.kernel.name}: this bound kernel is running in another thread; bind one for "
                "each thread"
            )
        try:
            ranges(self._call)
            return self.kernel._run(self._call)
        finally:
            self._turn.release()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={value}" for name, value in self._call.known().items())
        return f"<Bound {self.kernel.name} {self._call.dtype} {sizes}>"
