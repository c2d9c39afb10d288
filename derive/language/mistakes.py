"""What a mistake in a formula raises, and wrong calls reported in the user's words."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
AXES = {"axis", "axes", "dim", "dims", "keepdims", "keepdim"}
ALONG = (
    "; an axis is chosen by a form, as in i, j = indices('i j'), "
    "rows = form('rows', A=(i, j), to=(i,))"
)


class SpaceError(TypeError):
    """An operation met spaces that do not fit; the sentence names both and the fix."""


class NoAttribute(SpaceError, AttributeError):
    """A missing attribute; hasattr, and getattr with a default, see it as missing."""


def called(function: F) -> F:
    """A function of the user's language: a call with the wrong arguments is a SpaceError.

    >>> from derive import R, softmax, variable
    >>> softmax(variable("x", R(3)), 1)
    Traceback (most recent call last):
        ...
    derive.language.mistakes.SpaceError: softmax: takes 1 positional argument but 2 were given; \
call it as softmax(x)
    """

    @wraps(function)
    def refusing(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except TypeError as error:
            within = error.__traceback__ and error.__traceback__.tb_next
            if within or isinstance(error, SpaceError):
                raise
            sentence = _sentence(refusing, str(error), AXES.intersection(named))
        raise SpaceError(sentence)

    return cast(F, refusing)


def _sentence(function: Callable[..., Any], said: str, axes: set[str]) -> str:
    """Python's own words, without the function's long name, and how it is called."""
    parameters = inspect.signature(function).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters if p.name != "self"]
    shown = f"{function.__name__}{inspect.Signature(plain)}"
    what = said.rpartition("() ")[2]
    return f"{function.__name__}: {what}; call it as {shown}{ALONG if axes else ''}"


def renamed(function: Callable[..., Any], name: str, arguments: Iterable[str]) -> None:
    """Gives a generated function the name and the arguments that its user knows."""
    known = [inspect.Parameter(a, inspect.Parameter.POSITIONAL_OR_KEYWORD) for a in arguments]
    function.__name__ = function.__qualname__ = name
    function.__signature__ = inspect.Signature(known)  # type: ignore[attr-defined]


def refuse_attribute(what: str, name: str, advice: Mapping[str, str], otherwise: str) -> NoReturn:
    """Raises NoAttribute, with the advice for the name; Python's own names are simply not there."""
    if name.startswith("_"):
        raise AttributeError(name)
    raise NoAttribute(f"{what} has no .{name}; {advice.get(name, otherwise)}")


Refuse = Callable[[Any, str, str], NoReturn]
SIGNS = {
    **{
        f"__{side}{name}__": sign
        for side in ("", "r")
        for name, sign in (
            ("add", "+"),
            ("sub", "-"),
            ("mul", "*"),
            ("truediv", "/"),
            ("floordiv", "//"),
            ("mod", "%"),
            ("divmod", "divmod"),
            ("pow", "**"),
            ("matmul", "@"),
            ("and", "&"),
            ("or", "|"),
            ("xor", "^"),
            ("lshift", "<<"),
            ("rshift", ">>"),
        )
    },
    "__call__": "a call, (..)",
    "__getitem__": "an index, [..]",
    "__setitem__": "an assignment to a part, x[..] = ..",
    "__delitem__": "a deletion, del x[..]",
    "__iter__": "an iteration over it",
    "__len__": "len",
    "__invert__": "~",
    "__round__": "round",
    "__trunc__": "math.trunc",
    "__floor__": "math.floor",
    "__ceil__": "math.ceil",
    "__int__": "int",
    "__index__": "a use as a whole number (range, a position)",
    "__abs__": "abs",
    "__float__": "float (or a function of math)",
    "__bool__": "a truth value (if, and, or, not)",
    "__lt__": "an order (<, >)",
    "__gt__": "an order (<, >)",
    "__le__": "an order (<, >)",
    "__ge__": "an order (<, >)",
}
"""What Python's methods stand for, as a user writes it."""


def refuse_operators(kind: type, advice: Mapping[str, str], refuse: Refuse) -> None:
    """Give a class these methods: each calls `refuse(self, what, instead)`, which raises."""
    for method, instead in advice.items():
        setattr(kind, method, _refusing(method, instead, refuse))


def _refusing(method: str, instead: str, refuse: Refuse) -> Callable[..., NoReturn]:
    def refused(self: Any, *_: object, **__: object) -> NoReturn:
        refuse(self, SIGNS[method], instead)

    refused.__name__ = refused.__qualname__ = method
    return refused
