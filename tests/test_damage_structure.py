"""No damaged rule of the structured derivatives survives the law that their sum is the tangent.

A rule is damaged in its sign, by a factor, by what it forgets, or by taking one thing for another;
so is what the rules are made with.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, zip_longest

import pytest
import sympy
from damaged_rules import TERMS
from declared import LAYERS
from recurrent_cells import CELLS
from structured import ROUNDING, errors
from test_structure import MORE

from derive import (
    Hom,
    Index,
    R,
    SpaceError,
    broadcast,
    dims,
    form,
    indices,
    layer,
    scale,
    tanh,
    total_sum,
)
from derive.calculus import combining, structure, terms
from derive.calculus.structure import _through
from derive.calculus.terms import Term, scaled, times
from derive.language.expressions import (
    Constant,
    Contraction,
    Elementwise,
    LinearCombination,
    contraction,
    elementwise,
    is_zero,
)
from derive.language.forms import make_form

n, m = dims("n m")
H, X = R(n), R(m)
i, s = indices("i s")


@layer
def sums(q: R(), x: X) -> R():
    """An index that nothing is read at, and one value two times over."""
    z = tanh(x)
    return total_sum(scale(q, z)) - 3 * total_sum(broadcast(q, X)) + 2 * total_sum(z * z)


@layer
def window(x: H, q: R(), *, A: Hom(H, H)) -> H:
    """What lies beyond the border, read from a diagonal, a matrix and what has no index."""
    near = form("near", x=(i + 1,), to=(i,), ranges={i: n})
    return near(tanh(x)) + near(A @ x) + near(broadcast(q, H))


@layer
def products(x: H, *, A: Hom(H, H), B: Hom(H, H)) -> H:
    """Matrices of matrices, three operands of one form, two vectors in one term."""
    three = form("three", A=(i, s), x=(s,), y=(i,), to=(i,))
    z = tanh(A @ (B @ x))
    return scale(total_sum(z * x) / 3, z) - 2 * three(A, z, x)


@layer
def two_rows(first: Index(m), second: Index(m), *, E: R(m, n)) -> H:
    """Two rows of one table: terms that differ in what their index is bound to."""
    read = make_form([(s, i), (i,)], {s: m, i: n}, [(s, ())])
    rows = [contraction(H, read, 1, (E,), (word,)) for word in (first, second)]
    return tanh(rows[0]) + rows[1]


NAMES = (
    "lstm_step",
    "embedding",
    "squares",
    "rearranged",
    "pooling",
    "conv1d_strided",
    "attention",
)
WITNESSES = [sums, window, products, two_rows, *(LAYERS[name] for name in NAMES)]
WITNESSES += [MORE[name] for name in ("places", "numbers", "scattered", "shifts")]
WITNESSES += [CELLS[name] for name in ("skew_rnn", "gru_reset_before", "lookup_rnn", "tied_rnn")]


def noticed() -> bool:
    """The law fails for some layer, or what is derived is no expression that has a value."""
    rounds = zip_longest(*map(errors, WITNESSES))
    try:
        found = (error for error in chain.from_iterable(rounds) if error is not None)
        return any(not error <= ROUNDING for _, error in found)
    except (SpaceError, ValueError, KeyError, IndexError):  # what NumPy can't evaluate
        return True


def test_nothing_is_noticed_where_nothing_is_damaged() -> None:
    assert not noticed()


# --- the rules by node


@pytest.fixture
def rule(request: pytest.FixtureRequest) -> Callable[[type, Callable], None]:
    """Puts another rule in for one kind of node, until the test ends."""

    def put(node: type, other: Callable) -> None:
        request.addfinalizer(TERMS.put(node, other))

    return put


WHOLE = {
    "sign": lambda found: [scaled(sympy.Integer(-1), term) for term in found],
    "factor": lambda found: [scaled(sympy.Integer(2), term) for term in found],
    "dropped": lambda found: [],
    "the last one dropped": lambda found: found[:-1] if len(found) > 1 else found,
    "the first one twice": lambda found: [*found, *found[:1]],
}


@pytest.mark.parametrize("damage", WHOLE)
@pytest.mark.parametrize("node", [LinearCombination, Elementwise, Contraction])
def test_a_rule_as_a_whole(node, damage, rule) -> None:
    plain = TERMS.of(node)
    rule(node, lambda e, d: WHOLE[damage](plain(e, d)))
    assert noticed()


def sum_without_weights(e: LinearCombination, d):
    return [term for _, x in e.terms for term in d.of(x)]


def sum_with_weights_of_others(e: LinearCombination, d):
    weights = [weight for weight, _ in e.terms]
    operands = [x for _, x in e.terms]
    pairs = zip(reversed(weights), operands, strict=True)
    return [scaled(weight, term) for weight, x in pairs for term in d.of(x)]


def slopes(derivative: Callable) -> Callable:
    """The rule of an elementwise map with another slope, or none."""

    def damaged(e: Elementwise, d):
        found = []
        for position, z in enumerate(e.arguments):
            slope = derivative(e, position)
            if slope is None or not is_zero(slope):
                more = [] if slope is None else [slope]
                found += [times(term, *((term.out, x) for x in more)) for term in d.of(z)]
        return found

    return damaged


def contraction_first_slot_only(e: Contraction, d):
    depends = [k for k, x in enumerate(e.filled) if d.of(x)][:1]
    return [moved for k in depends for term in d.of(e.filled[k]) for moved in _through(e, k, term)]


def contraction_slot_of_another(e: Contraction, d):
    last = len(e.filled) - 1
    alike = last > 0 and e.filled[0].space == e.filled[last].space
    found = []
    for k, x in enumerate(e.filled):
        other = last - k if alike else k
        found += [moved for term in d.of(x) for moved in _through(e, other, term)]
    return found


INNER = {
    "a sum without its weights": (LinearCombination, sum_without_weights),
    "a sum with the weights of others": (LinearCombination, sum_with_weights_of_others),
    "no slope": (Elementwise, slopes(lambda e, k: None)),
    "psi for its slope": (Elementwise, slopes(lambda e, k: e)),
    "the slope at another place": (
        Elementwise,
        slopes(lambda e, k: elementwise(e.operation.derivative(k), *[2 * z for z in e.arguments])),
    ),
    "one of two dependent slots forgotten": (Contraction, contraction_first_slot_only),
    "one slot taken for another": (Contraction, contraction_slot_of_another),
}


@pytest.mark.parametrize("damage", INNER)
def test_what_stands_in_a_rule(damage, rule) -> None:
    rule(*INNER[damage])
    assert noticed()


# --- what the rules are made with


def of_result(change: Callable) -> Callable[[Callable], Callable]:
    """Another result of a function."""
    return lambda plain: lambda *arguments: change(plain(*arguments))


def exchanged(found: list[Term]) -> list[Term]:
    return [replace(term, out=term.into, into=term.out) for term in found]


def without(count: int) -> Callable:
    """The last factors forgotten."""
    return of_result(lambda term: replace(term, factors=term.factors[:-count]))


def without_bound(found: list[Term]) -> list[Term]:
    return [replace(term, bound=()) for term in found]


def times_without_numbers(plain: Callable) -> Callable:
    def damaged(term: Term, *factors):
        return plain(term, *(f for f in factors if not isinstance(f[1], Constant)))

    return damaged


def times_last_only(plain: Callable) -> Callable:
    return lambda term, *factors: plain(term, *factors[-1:])


def summed_at_zero(plain: Callable) -> Callable:
    """An index that is to be summed over has one value only."""

    def damaged(term: Term) -> Term:
        values = {index: sympy.S.Zero for index, _ in term.extents if index not in term.shown}
        return terms.replaced(term, values, {i: e for i, e in term.extents if i not in values})

    return damaged


def one_pattern(ignored: str) -> property:
    """Patterns that do not say one thing."""
    plain = Term.pattern.func  # type: ignore[attr-defined]
    place = {"out": 0, "into": 1, "extents": 2, "bound": 3}[ignored]
    return property(lambda term: plain(term)[:place] + plain(term)[place + 1 :])


PARTS = {
    "out and into exchanged": (structure, "_through", of_result(exchanged)),
    "what an index is bound to forgotten": (structure, "_through", of_result(without_bound)),
    "numbers forgotten": (terms, "times", times_without_numbers),
    "all operands but the last forgotten": (structure, "times", times_last_only),
    "what is summed taken at zero": (structure, "summed", summed_at_zero),
    "reads beyond the border kept": (structure, "inside", lambda f: lambda term, *_: term),
    "every entry written on plain indices": (
        structure,
        "_plain_out",
        lambda f: lambda term, *_: term,
    ),
    "an index without what it is": (
        structure,
        "_with_index",
        lambda f: lambda *a: replace(f(*a), factors=a[0].factors),
    ),
    "every place on the axis": (structure, "stays_inside", lambda f: lambda *_: True),
    "the last of like terms forgotten": (structure, "added", of_result(lambda found: found[:-1])),
    "a sum is its first part": (combining, "_sum", lambda f: lambda left, right: left),
    "a sum of factors is the first": (
        combining,
        "_factor_sum",
        lambda f: lambda term, left, right: left,
    ),
    "a sum of factors is twice the first": (
        combining,
        "_factor_sum",
        lambda f: lambda term, left, right: f(term, left, left),
    ),
    "terms not brought into the same indices": (
        combining,
        "aligned_to",
        lambda f: lambda term, like: term,
    ),
    "a product without its last factor": (
        combining,
        "_multiplied",
        lambda f: (
            lambda term, factors, over: f(term, list(factors)[: max(1, len(factors) - 1)], over)
        ),
    ),
    "a sum over nothing": (
        combining,
        "_multiplied",
        lambda f: lambda term, factors, over: f(term, factors, ()),
    ),
    "patterns without the index of v": (Term, "pattern", lambda f: one_pattern("into")),
    "patterns without the selector": (Term, "pattern", lambda f: one_pattern("bound")),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_rules_are_made_with(part, monkeypatch) -> None:
    where, name, damage = PARTS[part]
    monkeypatch.setattr(where, name, damage(getattr(where, name)))
    assert noticed()
