"""What the forms of one formula are called.

A form has the word of the function that made it, or the user's own, on it: a name that is no part
of its value.  A formula's names are gathered once, from its own expressions, so that what another
formula calls the same form never shows.  The calculus makes forms without a name; each is looked
up by its value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations

from .expressions import Argmax, Contraction, Node
from .forms import Form, FormName, with_ones
from .reading import Reading
from .walk import topological


@dataclass(frozen=True)
class FormNames:
    """Names of forms, and of the forms that remain of them where factors are ones."""

    named: tuple[tuple[Form, FormName], ...] = ()

    def get(self, form: Form) -> FormName | None:
        """The name of a form, else that of one that differs only in its extents."""
        return self._found.get(form) or self._found.get((form.slots, form.bound))

    @cached_property
    def _found(self) -> dict[object, FormName]:
        found: dict[object, FormName] = {}
        for form, name in chain(self.named, *(_remaining(*pair) for pair in self.named)):
            found.setdefault(form, name)
            found.setdefault((form.slots, form.bound), name)
        return found


def names_of(*roots: Node, given: FormNames | None = None) -> FormNames:
    """What the forms in some expressions are called: as they were written, else as is given.

    Of two names of one form the first that is written counts.

    >>> from derive import R, dims, form, indices, variable
    >>> n, (i,) = dims("n"), indices("i")
    >>> x = variable("x", R(n))
    >>> one, other = (form(word, x=(i,), y=(i,), to=(i,))(x, x) for word in ("one", "other"))
    >>> print(names_of(one).get(one.form).word, names_of(other).get(one.form).word)
    one other
    """
    named: dict[Form, FormName] = {}
    for node in topological(*roots):
        form = _FORM(node)
        if form and (name := form.name or (given and given.get(form))):
            named.setdefault(form, name)
    return FormNames(tuple(named.items()))


class _OwnForm(Reading[Form | None]):
    """The form that a node is an application of; None where it is none."""

    def contraction(self, node: Contraction) -> Form:
        return node.form

    def argmax(self, node: Argmax) -> Form:
        return node.form

    def _none(self, node: Node) -> None:
        return None

    variable = constant = linear_combination = elementwise = tuple_ = projection = _none
    held = potential = jet = running_sum = _none


_FORM = _OwnForm()


def _remaining(form: Form, name: FormName) -> Iterator[tuple[Form, FormName]]:
    """The forms that remain of one where some of its factors are ones."""
    plain = [k for k in range(len(form.slots)) if form.is_plain(k)]
    for count in range(1, len(plain)):
        for ones in combinations(plain, count):
            left = Form(form.slots, form.bound, form.extents, name)
            for slot in reversed(ones):  # so that the ones before it keep their places
                left = with_ones(left, slot)
            assert left.name is not None
            yield left, left.name
