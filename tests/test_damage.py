"""No damaged rule of the calculus survives the checks: each is put in, and some law must fail.

A rule is damaged in its sign, by a factor, by a term that is dropped, or by taking an argument for
another one; one test for each rule and damage.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, zip_longest

import pytest
import sympy
from damaged_rules import LIFTS, PULLS, TANGENTS, Rule
from ridge import interpreted_jets

from derive import (
    Gram,
    Hom,
    R,
    SpaceError,
    dims,
    elementwise_function,
    given,
    inner,
    layer,
    log_sum_exp,
    scale,
    sigmoid,
    softplus,
    tanh,
    uninterpreted,
    variable,
)
from derive.calculus import calculus, maps
from derive.calculus.calculus import NotLinear
from derive.calculus.maps import BilinearMap
from derive.evidence.checks.accuracy import findings as value_findings
from derive.evidence.checks.check import map_findings, program_findings
from derive.language.expressions import (
    Contraction,
    Elementwise,
    Held,
    Jet,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    constant,
    contraction,
    elementwise,
    hadamard,
    linear_combination,
    projection,
    tuple_of,
    zero,
)
from derive.language.scalars import declaring, operations
from derive.language.scalars.operations import Operation
from derive.models import layers, programs
from derive.models.layers import Layer
from derive.vocabulary.rows import largest

n, m, k = dims("n m k")
H, X = R(n), R(m)
blend = elementwise_function("blend", lambda a, b: a * sympy.tanh(b) + a**2)


# --- layers that between them use every node


@layer
def pair(s: H * H, *, b: H) -> H * H:
    h, c = s
    c_next = sigmoid(2 * c - h) * c + b
    return blend(c_next, h), 3 * c_next - c


@layer
def gate(x: H, y: X, *, A: Hom(X, H)) -> H:
    return softplus(A @ y) * tanh(x)


@layer
def choice(x: H, y: given(H)) -> R():
    return log_sum_exp(x) * largest(x) - inner(y, x * x)


@layer
def weighted(x: R(m, gram=Gram("G")), *, W: Hom(R(m, gram=Gram("G")), R(n, gram=Gram("K")))) -> R(
    n, gram=Gram("K")
):
    return scale(inner(x, x), tanh(W @ x))


f = uninterpreted("f", H, H, H)
g = uninterpreted("g", H, R(k), R(k))


@layer
def unknown(x: H, *, theta: H, eta: R(k)) -> R(k):
    return g(f(x, theta), eta)


LAYERS = [pair, gate, choice, weighted]


def findings(layer_: Layer) -> Iterator:
    """The laws that need no kernel, the cheap ones first."""
    yield from map_findings(layer_)
    if layer_ is not unknown:
        yield from program_laws(layer_)
    yield from value_findings(layer_.name, [layer_.output])


def program_laws(layer_: Layer) -> Iterator:
    """The only ones that need the batch."""
    return program_findings(layer_, programs.programs(layer_))


def noticed(*layers: Layer, laws: Callable = findings) -> bool:
    """Some law of some layer fails, or something derived is no expression that has a value."""
    rounds = zip_longest(*map(laws, layers))
    try:
        return any(found is not None and not found.ok for found in chain.from_iterable(rounds))
    except (SpaceError, NotLinear, ValueError):  # NoPoint, and what NumPy can't evaluate
        return True


def jets(layers) -> object:
    return interpreted_jets() if unknown in layers else nullcontext()


@pytest.mark.parametrize("layer_", [*LAYERS, unknown], ids=lambda layer_: layer_.name)
def test_nothing_is_noticed_where_nothing_is_damaged(layer_: Layer) -> None:
    with jets([layer_]):
        assert [found for found in findings(layer_) if not found.ok] == []


# --- the rules by node: tangents and shares, whole


def each(change: Callable[[Node], Node]) -> Callable[[object], object]:
    """A change of what a rule returns: an expression, or shares of operands."""

    def changed(result: object) -> object:
        if isinstance(result, Node):
            return change(result)
        return [(operand, change(share)) for operand, share in result]  # type: ignore[union-attr]

    return changed


WHOLE = {
    "sign": each(lambda e: -e),
    "factor": each(lambda e: 2 * e),
    "dropped": each(lambda e: zero(e.space)),
}
NODES = (LinearCombination, Elementwise, Contraction, Tuple, Projection, Jet)
RULES = {
    "tangent": (TANGENTS, NODES),
    "pull": (PULLS, tuple(node for node in NODES if node is not Elementwise)),
    "lift": (LIFTS, (LinearCombination, Elementwise, Contraction, Tuple, Projection)),
}


@pytest.fixture
def rule(request: pytest.FixtureRequest) -> Callable[[object, type, Rule], None]:
    """Puts another implementation in for one kind of node, until the test ends."""

    def put(table, node: type, other: Rule) -> None:
        request.addfinalizer(table.put(node, other))

    return put


@pytest.mark.parametrize("damage", WHOLE)
@pytest.mark.parametrize(
    ("name", "node"), [(name, node) for name, (_, nodes) in RULES.items() for node in nodes]
)
def test_a_rule_as_a_whole(name, node, damage, rule) -> None:
    table, change = RULES[name][0], WHOLE[damage]
    plain = table.of(node)
    rule(table, node, lambda *arguments: change(plain(*arguments)))
    layers = [unknown] if node is Jet else LAYERS
    with jets(layers):
        assert noticed(*layers, laws=program_laws if name == "lift" else findings)


# --- the rules by what stands in them


def other(node: Node, position: int) -> int:
    """Another operand of the same space, where there is one."""
    spaces = [x.space for x in node.operands]
    alike = [j for j, space in enumerate(spaces) if j != position and space == spaces[position]]
    return alike[0] if alike else position


def d_sum_last_dropped(e: LinearCombination, d):
    return calculus.sum_like(e, [(w, d[x]) for w, x in e.terms[:-1]])


def d_sum_without_weights(e: LinearCombination, d):
    return calculus.sum_like(e, [(1, d[x]) for _, x in e.terms])


def d_psi_last_argument_dropped(e: Elementwise, d):
    psi, z = e.operation, e.arguments
    terms = [hadamard(elementwise(psi.derivative(i), *z), d[z[i]]) for i in range(len(z))]
    return calculus.sum_like(e, [(1, term) for term in terms[: max(1, len(z) - 1)]])


def d_psi_by_another_argument(e: Elementwise, d):
    psi, z = e.operation, e.arguments
    last = len(z) - 1
    terms = [hadamard(elementwise(psi.derivative(last - i), *z), d[z[i]]) for i in range(len(z))]
    return calculus.sum_like(e, [(1, term) for term in terms])


def d_psi_without_derivative(e: Elementwise, d):
    return calculus.sum_like(e, [(1, hadamard(e, d[z])) for z in e.arguments])


def d_psi_without_direction(e: Elementwise, d):
    return calculus.sum_like(e, [(1, elementwise(e.operation.derivative(0), *e.arguments))])


def d_form_last_factor_dropped(e: Contraction, d):
    last = max(1, len(e.filled) - 1)
    return calculus.sum_like(e, [(1, calculus._with(e, i, d[e.filled[i]])) for i in range(last)])


def d_form_into_another_slot(e: Contraction, d):
    terms = [(1, calculus._with(e, other(e, i), d[x])) for i, x in enumerate(e.filled)]
    return calculus.sum_like(e, terms)


def d_form_all_slots_at_once(e: Contraction, d):
    return contraction(e.space, e.form, e.opened, [d[x] for x in e.filled], e.selectors)


def d_held_is_moved(e: Held, d):
    return constant(sympy.S.One, e.space)


def d_tuple_last_dropped(e: Tuple, d):
    *first, last = (d[x] for x in e.components)
    return tuple_of([*first, zero(last.space)])


def d_tuple_reversed(e: Tuple, d):
    return tuple_of([d[x] for x in reversed(e.components)])


def d_projection_of_another(e: Projection, d):
    return projection(d[e.operand], (e.position + 1) % len(e.operand.space.factors))


def d_jet(higher=True, inner=True, paired=True):
    def rule(e: Jet, d):
        given_ = e.directions
        terms = []
        if higher:
            terms += [
                calculus._jet(e, (*given_, (i, d[x])), e.cotangent)
                for i, x in enumerate(e.arguments)
            ]
        if inner:
            terms += [
                calculus._jet(e, (*given_[:i], (slot, d[v]), *given_[i + 1 :]), e.cotangent)
                for i, (slot, v) in enumerate(given_)
            ]
        if paired and e.cotangent is not None:
            terms.append(calculus._jet(e, given_, d[e.cotangent]))
        return calculus.sum_like(e, [(1, term) for term in terms])

    return rule


def d_jet_last_argument_dropped(e: Jet, d):
    plain = TANGENT[Jet](e, d)
    x = e.arguments[-1]
    last = calculus._jet(e, (*e.directions, (len(e.arguments) - 1, d[x])), e.cotangent)
    return plain - last


def pull_sum_last_dropped(e: LinearCombination, u, dependent):
    return [(x, linear_combination([(w, u)])) for w, x in e.terms[: max(1, len(e.terms) - 1)]]


def pull_sum_without_weights(e: LinearCombination, u, dependent):
    return [(x, u) for _, x in e.terms]


def pull_form_to_another(e: Contraction, u, dependent):
    """The adjoint of the wrong argument."""
    ((x, _),) = PULL[Contraction](e, u, dependent)
    position = e.filled.index(x)
    return [(x, calculus.opened(e, other(e, position), u))]


def pull_form_with_itself(e: Contraction, u, dependent):
    """The operand stays in the form instead of what came."""
    ((x, share),) = PULL[Contraction](e, u, dependent)
    return [(x, x if x.space == share.space else share)]


def pull_tuple_last_dropped(e: Tuple, u, dependent):
    return PULL[Tuple](e, u, dependent)[:-1]


def pull_tuple_of_another(e: Tuple, u, dependent):
    count = len(e.components)
    return [
        (x, projection(u, (i + 1) % count)) for i, x in enumerate(e.components) if x in dependent
    ]


def pull_projection_to_another(e: Projection, u, dependent):
    spaces = e.operand.space.factors
    at = (e.position + 1) % len(spaces)
    return [(e.operand, tuple_of(u if i == at else zero(s) for i, s in enumerate(spaces)))]


def pull_projection_to_all(e: Projection, u, dependent):
    return [(e.operand, tuple_of(u for _ in e.operand.space.factors))]


def pull_jet_slot(e: Jet, u, dependent):
    """The slot of another argument of the same space is opened."""
    ((x, share),) = PULL[Jet](e, u, dependent)
    if share.cotangent is None:
        return [(x, share)]
    alike = [i for i, a in enumerate(share.arguments) if a.space == share.space]
    return [(x, replace(share, opened=alike[alike.index(share.opened) - 1]))]


def pull_jet_directions_dropped(e: Jet, u, dependent):
    """The derivative is of too low an order."""
    ((x, share),) = PULL[Jet](e, u, dependent)
    return [(x, replace(share, directions=share.directions[1:]))]


TANGENT = {node: TANGENTS.of(node) for node in (*NODES, Held)}
PULL = {node: PULLS.of(node) for node in NODES}
INNER = [
    (TANGENTS, LinearCombination, d_sum_last_dropped),
    (TANGENTS, LinearCombination, d_sum_without_weights),
    (TANGENTS, Elementwise, d_psi_last_argument_dropped),
    (TANGENTS, Elementwise, d_psi_by_another_argument),
    (TANGENTS, Elementwise, d_psi_without_derivative),
    (TANGENTS, Elementwise, d_psi_without_direction),
    (TANGENTS, Contraction, d_form_last_factor_dropped),
    (TANGENTS, Contraction, d_form_into_another_slot),
    (TANGENTS, Contraction, d_form_all_slots_at_once),
    (TANGENTS, Held, d_held_is_moved),
    (TANGENTS, Tuple, d_tuple_last_dropped),
    (TANGENTS, Tuple, d_tuple_reversed),
    (TANGENTS, Projection, d_projection_of_another),
    (PULLS, LinearCombination, pull_sum_last_dropped),
    (PULLS, LinearCombination, pull_sum_without_weights),
    (PULLS, Contraction, pull_form_to_another),
    (PULLS, Contraction, pull_form_with_itself),
    (PULLS, Tuple, pull_tuple_last_dropped),
    (PULLS, Tuple, pull_tuple_of_another),
    (PULLS, Projection, pull_projection_to_another),
    (PULLS, Projection, pull_projection_to_all),
]
JETS = {
    "higher": (TANGENTS, d_jet(higher=False)),
    "inner": (TANGENTS, d_jet(inner=False)),
    "paired": (TANGENTS, d_jet(paired=False)),
    "last argument": (TANGENTS, d_jet_last_argument_dropped),
    "direction": (PULLS, pull_jet_directions_dropped),
    "slot": (PULLS, pull_jet_slot),
}


@pytest.mark.parametrize(
    ("table", "node", "damaged"), INNER, ids=[f"{d.__name__}-{n.__name__}" for _, n, d in INNER]
)
def test_a_term_or_an_argument_of_a_rule(table, node, damaged, rule) -> None:
    rule(table, node, damaged)
    assert noticed(*LAYERS)


@pytest.mark.parametrize("dropped", JETS)
def test_a_term_of_the_rule_for_an_uninterpreted_function(dropped, rule) -> None:
    table, damaged = JETS[dropped]
    rule(table, Jet, damaged)
    with interpreted_jets():
        assert noticed(unknown)


# --- what the rules are made with


def dropping_last(total):
    def damaged(like, terms):
        terms = list(terms)
        return total(like, terms[:-1] if len(terms) > 1 else terms)

    return damaged


def with_other_slot(opened):
    def damaged(node, position, u):
        found = opened(node, position, u)
        if not isinstance(found, Contraction):
            return found
        return contraction(
            found.space, found.form, found.opened, found.filled[::-1], found.selectors
        )

    return damaged


def without_hook(hooked):
    def damaged(self, fixed, free, e, name):
        return hooked(self, free, fixed, e, name)

    return damaged


def swapped(make):
    def damaged(*arguments):
        found = make(*arguments)
        return BilinearMap(found.name, found.right, found.left, found.body)

    return damaged


def of_first_argument(derivative):
    return lambda self, name: derivative(self, self.differentiable[0].name)


def without_last_direction(tangents):
    def damaged(roots, directions):
        kept = list(directions.items())
        return tangents(roots, dict(kept[:-1] if len(kept) > 1 else kept))

    return damaged


def reversed_shares(cotangents):
    def damaged(node, cotangent, variables):
        found, summed = cotangents(node, cotangent, variables)
        return {v: 2 * share for v, share in found.items()}, summed

    return damaged


PARTS = {
    "sum_like drops a term": (calculus, "sum_like", dropping_last),
    "sum_like doubles": (calculus, "sum_like", lambda f: lambda like, terms: 2 * f(like, terms)),
    "opened fills in another order": (calculus, "opened", with_other_slot),
    "no Riesz map": (maps, "riesz", lambda f: lambda x, inverse=False: x),
    "Riesz map not inverted": (maps, "riesz", lambda f: lambda x, inverse=False: f(x)),
    "Riesz map inverted": (maps, "riesz", lambda f: lambda x, inverse=False: f(x, True)),
    "hook on the other side": (BilinearMap, "_hooked", without_hook),
    "left and right exchanged": (layers, "second_derivative_map", swapped),
    "derivative by the first argument": (Layer, "derivative", of_first_argument),
    "programs: a direction forgotten": (programs, "tangents", without_last_direction),
    "programs: adjoints doubled": (programs, "cotangents", reversed_shares),
    "programs: no Riesz map": (programs, "riesz", lambda f: lambda x, inverse=False: x),
    "programs: a sum for the mean": (programs, "total_sum", lambda f: lambda x: 3 * f(x)),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_rules_are_made_with(part, monkeypatch) -> None:
    where, name, damage = PARTS[part]
    monkeypatch.setattr(where, name, damage(getattr(where, name)))
    assert noticed(*LAYERS)


# --- the derivatives of psi

both = ("body", "stable")
OFF = 1 + sympy.Rational(1, 10**14)


def changed(psi: Operation, change, fields=both) -> Operation:
    return replace(psi, **{name: change(getattr(psi, name)) for name in fields})


PSI = {
    "sign": lambda psi, d: changed(d, lambda e: -e),
    "factor": lambda psi, d: changed(d, lambda e: 2 * e),
    "psi itself": lambda psi, d: psi,
    "one more": lambda psi, d: changed(d, lambda e: e + 1),
    "second only": lambda psi, d: changed(d, lambda e: -e) if sum(d.orders) == 2 else d,
    "stable form off": lambda psi, d: changed(
        d, lambda e: e * (1 + sympy.Float("1e-14")), ["stable"]
    ),
    "by another argument": lambda psi, d: (
        operations._derivative(psi, 1) if len(psi.arguments) == 2 and d.orders[0] else d
    ),
}


@pytest.mark.parametrize("damage", PSI)
def test_the_derivative_of_an_elementwise_operation(damage, monkeypatch) -> None:
    plain = Operation.derivative

    def derivative(self: Operation, argument: int = 0) -> Operation:
        return PSI[damage](self, plain(self, argument))

    monkeypatch.setattr(Operation, "derivative", derivative)
    assert noticed(*LAYERS)


LOSSES = {
    "1 - tanh(t)**2": lambda t: 1 - sympy.tanh(t) ** 2,
    "exp(t) - 1": lambda t: sympy.exp(t) - 1,
    "1 + exp(-t) in a denominator that overflows": lambda t: sympy.exp(t) / (1 + sympy.exp(t)) ** 2,
}


@pytest.mark.parametrize("formula", LOSSES)
def test_a_formula_that_loses_digits(formula) -> None:
    """No difference sees it: the error is one rounding of the largest entry, or far out."""
    psi = declaring.operation("lossy", LOSSES[formula], stable=LOSSES[formula])
    root = elementwise(psi, variable("x", H))
    assert any(not found.ok for found in value_findings("lossy", [root]))
