r"""Forms beyond linear algebra: C(K, x), (C \llcorner x)^{*} \cdot u (thesis 4.2).

A form has the name that the user gave it; without one it gets a letter B_{1}, B_{2}, ..
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, count

import sympy

from ...language.expressions import Argmax, Contraction, Node, together
from ...language.form_names import FormNames
from ...language.forms import Access, Form, FormName, make_form
from ...language.notation import APPLIED, ATOM, DOT, TIGHT, Writes, Written
from ...language.patterns import is_over_all
from .letters import Letters, escaped, word
from .typography import HOOK, ONES, enclosed, parenthesised

MAPPED = frozenset({ATOM, APPLIED, DOT})
RIGHT_HOOK = HOOK.replace("lrcorner", "llcorner")
OPEN = r"\cdot\,"


class WrittenForms:
    """The names of forms; `unnamed` have a letter, `used` are all that were written, in order."""

    def __init__(
        self,
        letters: Letters,
        given: Mapping[Form, str] | None = None,
        names: FormNames | None = None,
    ) -> None:
        self.letters, self.given, self.names = letters, dict(given or {}), names or FormNames()
        self.unnamed: dict[Form, str] = {}
        self.used: dict[str, Form] = {}
        self.ranged: dict[Form, frozenset[sympy.Symbol]] = {}  # indices whose range must be printed

    def write(self, w: Writes, node: Contraction) -> Written:
        """The form with one slot open, at its factors."""
        form = without(node.form, w.family)
        name, ones = self._name(form)
        if not ones:
            self.used.setdefault(name, form)
            self.ranged.setdefault(form, _on_parts(node, form, w.family))
        *inputs, last = _factors(node, ones)
        selectors = self._selectors(w, node)
        if last is None:
            shown = ", ".join(w(x) if isinstance(x, Node) else ONES for x in inputs)
            return f"{name}{enclosed('(', shown + selectors, ')')}", ATOM
        u = w(last, MAPPED) if isinstance(last, Node) else ONES
        return rf"{_opened(w, name, inputs, selectors)}^{{*}} \cdot {u}", DOT

    def _selectors(self, w: Writes, node: Contraction) -> str:
        """The arrays that bound indices are read from; the places of one window are one argmax."""
        first = next(iter(node.selectors), None)
        if (
            isinstance(first, Argmax)
            and len(together(first)) > 1
            and node.selectors == together(first)
        ):
            return f"; {self.places(w, first)}"
        return "".join(f"{', ' if k else '; '}{w(x)}" for k, x in enumerate(node.selectors))

    def has_name(self, w: Writes, node: Contraction) -> bool:
        """Whether the form has a name, by the user or given here."""
        form = without(node.form, w.family)
        return form in self.given or self._called(form) is not None

    def places(self, w: Writes, node: Argmax) -> str:
        """The places of the largest entries, all indices of a window together."""
        shown, operator = w(node.operand), self.argmax(w, node)
        named = node.operand in w.names or not node.operand.operands
        return f"{operator} {shown}" if named else f"{operator}{enclosed('(', shown, ')')}"

    def argmax(self, w: Writes, node: Argmax) -> str:
        """The operator whose value the node is: over all entries, or over the windows of a form."""
        if is_over_all(node, w.family):
            return r"\operatorname{argmax}"
        form = without(node.form, w.family)
        name, ones = self._name(form)
        name = self._letter(form) if ones else name
        self.used.setdefault(name, form)
        return rf"\operatorname{{argmax}}_{{{name}}}"

    def _name(self, form: Form) -> tuple[str, tuple[int, ...]]:
        if form in self.given:
            return self.given[form], ()
        found = self._called(form)
        if found is not None:
            look = word(found.word)
            if self.letters.is_taken(look):
                look = escaped(found.word).replace(r"\mathit", r"\mathsf")
            return look, found.ones
        return self._letter(form), ()

    def _called(self, form: Form) -> FormName | None:
        """What the formula calls it, else what it was called where it was written."""
        return self.names.get(form) or form.name

    def _letter(self, form: Form) -> str:
        """The letter of a form that has no name, or only one as part of another form."""
        if form not in self.unnamed:
            names = (f"B_{{{number}}}" for number in count(1))
            used = self.unnamed.values()
            free = (name for name in names if not self.letters.is_taken(name) and name not in used)
            self.unnamed[form] = next(free)
        return self.unnamed[form]


def spelled(form: Form, ranged: frozenset[sympy.Symbol] = frozenset()) -> str:
    """A form as it is declared in Python, with the arrays that its bound indices are read from.

    `ranged` are the indices whose range differs from the axes that they index alone.

    >>> from derive.language.forms import indices, make_form
    >>> i, j = indices("i j")
    >>> print(spelled(make_form([(i,), (j, i)], {i: sympy.Integer(3), j: sympy.Integer(4)})))
    a=(i,), to=(j, i), ranges={j: 4}
    """
    sizes = {size.name for _, extent in form.extents for size in extent.free_symbols}
    sizes |= {x.name for slot in form.slots for e in slot for x in e.free_symbols if x.is_positive}
    names = chain("ijklpqrstuvw", (f"i{number}" for number in count(1)))
    letters = (letter for letter in names if letter not in sizes)
    renamed = {i: sympy.Symbol(next(letters)) for i, _ in form.extents}
    parts = [*"abcdefgh"[: len(form.slots) - 1], "to"]
    read = [f"{part}={_code(slot, renamed)}" for part, slot in zip(parts, form.slots, strict=True)]
    plain = {entry for slot in form.slots[:-1] for entry in slot} - ranged
    ranges = [f"{renamed[i]}: {extent}" for i, extent in form.extents if i not in plain]
    bound = [f"{renamed[i]} selected at {_code(slot, renamed)}" for i, slot in form.bound]
    return ", ".join([*read, *([f"ranges={{{', '.join(ranges)}}}"] if ranges else []), *bound])


def _code(access: Access, renamed: Mapping[sympy.Symbol, sympy.Symbol]) -> str:
    """The access as a tuple of Python."""
    shown = [str(entry.xreplace(renamed)) for entry in access]
    return f"({', '.join(shown)}{',' if len(shown) == 1 else ''})"


def without(form: Form, family: sympy.Symbol | None) -> Form:
    """The form for one point of a family."""
    hidden = {index for index, extent in form.extents if extent == family}
    if not hidden:
        return form
    slots = [_shown(access, hidden) for access in form.slots]
    bound = [(index, _shown(access, hidden)) for index, access in form.bound]
    extents = {index: extent for index, extent in form.extents if index not in hidden}
    return make_form(slots, extents, bound, form.name)


def _on_parts(
    node: Contraction, form: Form, family: sympy.Symbol | None
) -> frozenset[sympy.Symbol]:
    """The indices of a node's form, named as for one point, that do not run over whole axes.

    Their range differs from the extent of an axis that they index alone.
    """
    extents = dict(node.form.extents)
    kept = [index for index, extent in extents.items() if extent != family]
    called = dict(zip(kept, (index for index, _ in form.extents), strict=True))
    reads = [(node.access(k), x.space) for k, x in enumerate(node.filled)]
    return frozenset(
        called[entry]
        for access, space in (*reads, (node.output, node.space))
        for entry, axis in zip(access, space.shape, strict=True)  # type: ignore[attr-defined]
        if entry in called and extents[entry] != axis
    )


def _shown(access: Access, hidden: set[sympy.Symbol]) -> Access:
    return tuple(entry for entry in access if entry not in hidden)


def _factors(node: Contraction, ones: tuple[int, ...]) -> list[Node | str | None]:
    """For each slot of the user's form an expression, ones, or None if it is open."""
    filled = iter(node.filled)
    own = [None if k == node.opened else next(filled) for k in range(len(node.form.slots))]
    left, whole = iter(own), range(len(own) + len(ones))
    return [ONES if k in ones else next(left) for k in whole]


def _opened(w: Writes, name: str, inputs: list[Node | str | None], selectors: str) -> str:
    """The form as a linear map of its open slot, the others held."""
    if len(inputs) == 1 and not selectors:
        return name
    if len(inputs) == 2 and not selectors:
        first, second = (x if not isinstance(x, Node) else w(x, TIGHT) for x in inputs)
        hooked = f"{name} {RIGHT_HOOK} {second}" if first is None else f"{first} {HOOK} {name}"
        return parenthesised(hooked)
    shown = ", ".join(OPEN if x is None else x if isinstance(x, str) else w(x) for x in inputs)
    return f"{name}{enclosed('(', shown + selectors, ')')}"
