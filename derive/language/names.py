"""The one place that identifiers of emitted code come from.

Names of variables, sizes and layers reach C, Cython, LaTeX and file names: each is checked here,
and a kernel's names are handed out by one allocator so that no two meanings share one.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Container
from itertools import chain, count

_C = """auto break case char const continue default do double else enum extern float for goto if
inline int long register restrict return short signed sizeof static struct switch typedef union
unsigned void volatile while bool complex imaginary NULL I EOF errno stdin stdout stderr INFINITY
NAN"""
_CYTHON = """cdef cpdef cimport ctypedef extern nogil gil noexcept include by object bint fused
public readonly inline real NULL self DEF IF ELIF ELSE sizeof Py_ssize_t"""
_RUNTIME = """exp log tanh sin cos sinh cosh atan expm1 log1p erf erfc sqrt fabs pow normal_cdf
normal_gelu normal_mean_excess weighted_normal_pdf gemm fill copy add checked_index interrupted
selected print range len max min int64_t"""
# what a kernel's module imports; other words of libm are free, since Cython puts a prefix before
# every name of its own
_EDGE = frozenset(
    ["out", "saved", "workspace", "size", "sizes", "array", "batch", "steps"]
) | frozenset(["forward", "tangent", "backward"])
_MODULE = """forward tangent backward tangent_backward gradient loss bptt truncated_bptt rtrl hybrid
start recurrence Recurrence Kernel Argument Leaf admit features source_hash CONVENTION"""
RESERVED = frozenset(
    [*keyword.kwlist, *keyword.softkwlist, *_C.split(), *_CYTHON.split(), *_RUNTIME.split()]
)
DERIVED = ("_dot", "_bar")
_INSTALLED = frozenset(["numpy", "derive", "cython", "Cython", "sympy", "mpmath", "jinja2"])


class UnusableName(ValueError):
    """A name that can't be an identifier of emitted code."""


def checked(name: str, what: str) -> str:
    """The name, if it can stand in Python, Cython, C, LaTeX and a file name.

    Raises ValueError naming `what` it is for and the reason.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UnusableName(
            f"{what}: {name!r} must be letters, digits and _, beginning with a letter"
        )
    if name in RESERVED:
        raise UnusableName(
            f"{what}: {name!r} is a word of Python, Cython or C; choose another name"
        )
    if len(name) > 60:
        raise UnusableName(f"{what}: {name!r} is longer than 60 characters")
    return name


def checked_argument(name: str, what: str) -> str:
    """A declared variable's name, which a kernel must not make or use itself."""
    if checked(name, what).endswith(DERIVED) or "__" in name:
        raise UnusableName(
            f"{what}: {name!r} looks like a tangent ({name.split('_')[0]}_dot), a cotangent (_bar) "
            "or an internal name (__); choose another name"
        )
    if name in _EDGE:
        raise UnusableName(f"{what}: {name!r} is an argument that every kernel has; choose another")
    return name


def checked_function(name: str, what: str) -> str:
    """The name of an elementwise operation, which a module of kernels must not make itself."""
    if re.search(r"_d\d[\d_]*$", checked(name, what)) or name in _MODULE.split():
        raise UnusableName(
            f"{what}: {name!r} looks like a derivative (tanh_d1) or is a word of every module of "
            "kernels; choose another name"
        )
    return name


def checked_module(name: str, what: str) -> str:
    """The name of a module in a user's folder, which Python must not find elsewhere."""
    if checked(name, what) in _INSTALLED or name in sys.stdlib_module_names:
        raise UnusableName(
            f"{what}: {name!r} is a module of Python or one that kernels are made with, and one of "
            "the two would hide the other; choose another name"
        )
    return name


def unused(wanted: str, taken: Container[str]) -> str:
    """The name, followed by a number where it is taken.

    >>> unused("t", {"t", "t_2"})
    't_3'
    """
    names = chain([wanted], (f"{wanted}_{number}" for number in count(2)))
    return next(name for name in names if name not in taken)


class Numbered:
    """Hands out names that are not taken, each once: t, t_2, t_3, ..

    The last number of each name is kept, so that the time for a name does not grow with their
    number.
    """

    def __init__(self, used: set[str], others: Container[str] = ()) -> None:
        self.used, self._others = used, others
        self._last: dict[str, int] = {}

    def __call__(self, wanted: str) -> str:
        name, number = wanted, self._last.get(wanted, 1)
        if number > 1:
            name = f"{wanted}_{number}"
        while name in self.used or name in self._others:
            number += 1
            name = f"{wanted}_{number}"
        self._last[wanted] = number
        self.used.add(name)
        return name


class Allocator:
    """Hands out identifiers, each once."""

    def __init__(self, taken: tuple[str, ...] = ()) -> None:
        self._taken = set(taken) | RESERVED
        self._unused = Numbered(self._taken)

    def is_taken(self, name: str) -> bool:
        """The name has been handed out or is reserved."""
        return name in self._taken

    def fresh(self, wanted: str) -> str:
        """`wanted` made an identifier, followed by a number where that is taken."""
        stem = re.sub(r"\W", "_", wanted) or "t"
        stem = stem if stem[0].isalpha() else f"t{stem}"
        return self._unused(stem)
