"""A user's function applied to variables: what it returns, and its mistakes in the layer's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..language.expressions import Node, tuple_of
from ..language.places import innermost
from ..language.refusals import about_sizes
from ..language.spaces import SpaceError


def formula_of(
    name: str, function: Callable[..., Any], positional: Sequence[Any], keywords: Mapping[str, Any]
) -> Node:
    """What a function of expressions returns; its errors name the layer and the formula's line."""
    try:
        output = function(*positional, **keywords)
        output = tuple_of(output) if isinstance(output, tuple) else output
    except SpaceError as error:
        raise _of_layer(name, function, error, str(error)) from error
    except (TypeError, ValueError) as error:
        what = _not_taken(error, [*positional, *keywords]) or about_sizes(error)
        if what is None:  # the user's own
            raise
        raise _of_layer(name, function, error, what) from error
    if not isinstance(output, Node):
        raise SpaceError(
            f"layer {name}: must return an expression of its arguments, got {output!r}"
        )
    return output


def _not_taken(error: Exception, arguments: Sequence[object]) -> str | None:
    """Says that the formula does not take its arguments, if that is what failed."""
    at = error.__traceback__
    if at is None or at.tb_next is not None:
        return None
    called_so = ", ".join(map(str, arguments))
    return f"its formula is a function of {called_so}; {str(error).rpartition('() ')[2]}"


def _of_layer(name: str, function: Callable[..., Any], error: Exception, what: str) -> SpaceError:
    """The error with the layer's name, and with a note of the line of the formula's file."""
    named = SpaceError(f"layer {name}: {what}")
    code = getattr(function, "__code__", None)
    place = innermost(error, code.co_filename) if code else None
    if place is not None:
        named.add_note(f"{place}: {place.text}")
    return named
