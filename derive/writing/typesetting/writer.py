"""The writer of expressions in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sympy

from ...language.expressions import Node, Variable
from ...language.form_names import FormNames
from ...language.forms import Form
from ...language.text import Writer
from ...language.walk import topological
from .jets import IsParameter, Jets, after_the_first
from .letters import Letters
from .linear_algebra import LinearAlgebra
from .multilinear import WrittenForms, spelled


def latex_writer(
    names: Mapping[Node, str],
    *,
    family: sympy.Symbol | None = None,
    symbols: Mapping[str, str] | None = None,
    forms: Mapping[Form, str] | None = None,
    is_parameter: IsParameter = after_the_first,
    taken: Iterable[str] = (),
    form_names: FormNames | None = None,
    times: Mapping[str, str] | None = None,
) -> Writer:
    r"""A writer in LaTeX; expressions with a name are printed by it.

    names         the names of expressions, as identifiers; they become symbols here
    family        the extent of an axis that is not printed
    symbols       the looks of some names: {"omega_next": r"\omega_{i+1}"}
    forms         the looks of some forms; others have their name, or B_{1}, ..
    is_parameter  whether the slot of an uninterpreted function is a parameter: nabla, not D
    form_names    what a layer calls its forms; others are called as they were written
    taken         names that get their symbol first, in order: the arguments of a layer
    times         the times of a sequence that some names belong to

    >>> from derive import Hom, R, dims, tanh, variable
    >>> n, m = dims("n m")
    >>> W, x, z = variable("W", Hom(R(m), R(n))), variable("x", R(m)), variable("z", R(n))
    >>> print(latex_writer({}).formula(tanh(z) * (W @ x)))
    \tanh(z) \odot (W x)
    """
    letters = Letters(symbols, [*taken, *names.values()], times)
    written = WrittenForms(letters, forms, form_names)
    notation = LinearAlgebra(letters, Jets(letters, is_parameter), written)
    return Writer(names, family, notation)


def symbols_of(writer: Writer) -> dict[str, str]:
    """The symbols that a writer in LaTeX has given so far, by name."""
    assert isinstance(writer.notation, LinearAlgebra)
    return writer.notation.letters.looks


def at_time(writer: Writer, name: str, shown: Node) -> None:
    """A name for an expression, printed at the time that the expression belongs to, if any."""
    assert isinstance(writer.notation, LinearAlgebra)
    others = [x.name for x in topological(shown) if isinstance(x, Variable)]
    writer.notation.letters.at_time(name, others)


def used_forms(writer: Writer) -> dict[str, str]:
    """The forms written by a name or letter so far, by that name, as they are declared."""
    assert isinstance(writer.notation, LinearAlgebra)
    names = writer.notation.forms
    none = frozenset[sympy.Symbol]()
    return {name: spelled(form, names.ranged.get(form, none)) for name, form in names.used.items()}


def unnamed_forms(writer: Writer) -> dict[str, Form]:
    """The forms that a writer in LaTeX has written without a user's name, by their letters."""
    assert isinstance(writer.notation, LinearAlgebra)
    return {letter: form for form, letter in writer.notation.forms.unnamed.items()}
