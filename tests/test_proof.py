"""Every derived map of every layer is what SymPy's own diff says, and no damaged rule survives."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sympy
from damaged_rules import PULLS, TANGENTS, Rule
from shipped import SINGLE

from derive import (
    Cell,
    Gram,
    Hom,
    Index,
    Layer,
    R,
    dims,
    elementwise_function,
    entry,
    inner,
    layer,
    log,
    scale,
    sigmoid,
    softplus,
    sqrt,
    tanh,
)
from derive.calculus import calculus, maps
from derive.calculus.calculus import NotLinear
from derive.calculus.maps import LinearMap
from derive.evidence.proofs.proof import Oracle, Undecided, prove, prove_at, small_sizes
from derive.language.expressions import (
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    linear_combination,
    tuple_of,
)
from derive.language.scalars.operations import Operation

n, m, k = dims("n m k")
H, X, Y = R(n), R(m), R(k)


def refuted(verdicts) -> list[str]:
    return [
        f"{v.map_name} at {v.sizes}, component {v.differs_at}" for v in verdicts if not v.proved
    ]


def count(f: Layer) -> int:
    """Maps and adjoints of first and second order, at each choice of sizes."""
    arguments = len(f.differentiable)
    return 2 * (arguments + arguments**2) * len(small_sizes(f))


# SymPy derives the components of two convolutions behind each other for more than ten minutes;
# the layers of this network are proved each, and the chain rule is that of every other network
BY_PARTS = {"cnn"}
LONG = {"self_attention"}  # a softmax of products of products: 95 s at two choices of sizes
PROVED = {name: f for name, f in SINGLE.items() if name not in BY_PARTS}


@pytest.mark.parametrize("f", PROVED.values(), ids=PROVED)
def test_the_library_is_proved(f: Layer) -> None:
    """What has long components at one choice of sizes; `derive check --all` takes two."""
    long = isinstance(f, Cell) or f.name in LONG
    verdicts = list(prove_at(f, small_sizes(f)[0])) if long else prove(f)
    expected = count(f) // (len(small_sizes(f)) if long else 1)
    assert not refuted(verdicts) and len(verdicts) == expected > 0


@layer
def outside(x: X, *, A: Hom(X, H), B: Hom(X, H), c: H) -> H:
    return softplus(A @ x) * sigmoid(B @ x + c)


E, F = R(m, gram=Gram("G1")), R(n, gram=Gram("G2"))


@layer
def curved(x: E, *, W: Hom(E, F)) -> F:
    z = W @ x
    return scale(inner(x, x), tanh(z))


@layer
def cell(s: H * X, x: X, *, U: Hom(X, H**2)) -> H * X:
    h, c = s
    i, o = U @ (x + c)
    return sigmoid(i) * h, scale(inner(o, h), c)


OTHERS = {f.name: f for f in (outside, curved, cell)}


@pytest.mark.parametrize("f", OTHERS.values(), ids=OTHERS)
def test_layers_outside_the_library_are_proved(f: Layer) -> None:
    verdicts = prove(f)
    assert not refuted(verdicts) and len(verdicts) == count(f)


@pytest.mark.parametrize(
    ("space", "output"),
    [
        (R(6), lambda x: sqrt(x)),
        (R(n), lambda x: sqrt(x - 5)),
        (R(n), lambda x: log((x - 9) * sigmoid(x))),
    ],
    ids=["many roots", "roots of negative numbers", "logarithms of negative numbers"],
)
def test_without_a_point_nothing_is_decided(space, output) -> None:
    f = Layer.of("rooted", state={"x": space}, output=output)
    with pytest.raises(Undecided, match=r"^layer rooted: the proof is not decided: at none of"):
        prove(f)


def test_sizes_are_two_and_three_and_unequal() -> None:
    assert small_sizes(outside) == [{m: 2, n: 3}, {m: 3, n: 2}]
    fixed = Layer.of("f", state={"x": R(2)}, output=lambda x: tanh(x))
    assert small_sizes(fixed) == [{}] and len(prove(fixed)) == count(fixed) == 4


def test_the_oracle_differentiates_as_one_would_by_hand() -> None:
    f = Layer.of("f", state={"x": R(2)}, parameters={"a": R()}, output=lambda x, a: scale(a, x * x))
    oracle = Oracle(f, {})
    x0, x1 = sympy.symbols("x_0 x_1", real=True)
    a = sympy.Symbol("a", real=True)
    by_x, by_a = (oracle.jacobian(v) for v in f.differentiable)
    assert by_x == sympy.Matrix([[2 * a * x0, 0], [0, 2 * a * x1]])
    assert by_a == sympy.Matrix([x0**2, x1**2])
    assert oracle.partial(0, x0, a) == oracle.partial(0, a, x0) == 2 * x0


# --- damage: each rule of the calculus in turn is made wrong, and a map must be refuted

psi = elementwise_function("psi", lambda a, b: a**2 * sympy.exp(b))


@layer
def probe(s: H * H, k: Index(n), *, W: Hom(H, H)) -> H * H:
    """Every kind of node that depends on the arguments, on one space: all can be swapped."""
    h, x = s
    z = W @ x - 2 * h
    return psi(h, z), scale(entry(z, k) / 3, h * x)


SIZES = {n: 2, m: 3}


def first_bad(f: Layer) -> str | None:
    """A map that is refuted, or what the calculus says where it refuses to go on."""
    try:
        return next((v.map_name for v in prove_at(f, SIZES) if not v.proved), None)
    except NotLinear as refusal:
        return str(refusal)


def scaled(factor: int, node: Node) -> Node:
    return linear_combination([(factor, node)])


def tangents_scaled(factor: int) -> Callable[[Rule], Rule]:
    return lambda rule: lambda node, d: scaled(factor, rule(node, d))


def without_the_first(rule: Rule) -> Rule:
    """The tangent without the term of the first operand that has one."""

    def damaged(node: Node, d: dict[Node, Node]) -> object:
        moving = next((x for x in node.operands if not is_still(d[x])), None)
        left_out = {x: scaled(0, d[x]) if x is moving else d[x] for x in node.operands}
        return rule(node, left_out)

    return damaged


def is_still(tangent: Node) -> bool:
    return scaled(0, tangent) is tangent


def swapped(rule: Rule) -> Rule:
    """The tangents of the first operand and of another one of its space exchanged."""

    def damaged(node: Node, d: dict[Node, Node]) -> object:
        first, *rest = node.operands
        other = next((x for x in rest if x.space == first.space), first)
        return rule(node, dict(d) | {first: d[other], other: d[first]})

    return damaged


def shares_scaled(factor: int) -> Callable[[Rule], Rule]:
    return lambda rule: lambda *a: [(x, scaled(factor, u)) for x, u in rule(*a)]


def without_the_last_share(rule: Rule) -> Rule:
    return lambda *a: rule(*a)[:-1]


def shares_swapped(rule: Rule) -> Rule:
    """The first two operands get each other's cotangent."""

    def damaged(*a: object) -> object:
        shares = rule(*a)
        (x, u), (y, w), *rest = shares if len(shares) > 1 else [*shares, *shares]
        return [(x, w), (y, u), *rest] if len(shares) > 1 else shares

    return damaged


def other_position_of_a_tangent(rule: Rule) -> Rule:
    return lambda node, d: d[node.operand][1 - node.position]


def other_position_of_a_cotangent(rule: Rule) -> Rule:
    def damaged(*a: object) -> object:
        [(whole, (left, right))] = rule(*a)
        return [(whole, tuple_of((right, left)))]

    return damaged


DAMAGE = {
    "sign": (tangents_scaled(-1), shares_scaled(-1)),
    "factor 2": (tangents_scaled(2), shares_scaled(2)),
    "dropped term": (without_the_first, without_the_last_share),
    "wrong argument": (swapped, shares_swapped),
}
NODES = [LinearCombination, Contraction, Tuple]
CASES = [
    *((TANGENTS, node, name, DAMAGE[name][0]) for node in [*NODES, Elementwise] for name in DAMAGE),
    *((PULLS, node, name, DAMAGE[name][1]) for node in NODES for name in DAMAGE),
    *((TANGENTS, Projection, name, DAMAGE[name][0]) for name in ("sign", "factor 2")),
    *((PULLS, Projection, name, DAMAGE[name][1]) for name in ("sign", "factor 2", "dropped term")),
    (TANGENTS, Projection, "wrong position", other_position_of_a_tangent),
    (PULLS, Projection, "wrong position", other_position_of_a_cotangent),
]
CASES = [case for case in CASES if case[:3] != (PULLS, Contraction, "wrong argument")]  # see below


@pytest.fixture
def damage() -> Iterator[Callable[..., None]]:
    """Replaces the rule of one node by a damaged one, and puts it back."""
    kept = []

    def damaged(table, node, change) -> None:
        kept.append(table.put(node, change(table.of(node))))

    yield damaged
    for put_back in reversed(kept):
        put_back()


def test_the_undamaged_probe_is_proved() -> None:
    assert first_bad(probe) is None


@pytest.mark.parametrize(
    ("table", "node", "change"),
    [(table, node, change) for table, node, _, change in CASES],
    ids=[f"{table.name} {node.__name__} {name}" for table, node, name, _ in CASES],
)
def test_a_damaged_rule_is_refuted(damage, table, node, change) -> None:
    damage(table, node, change)
    assert first_bad(probe) is not None


def test_a_slot_opened_at_the_wrong_argument_is_refuted(monkeypatch) -> None:
    """x u^T for u x^T: the cotangent and another factor of its space stand in each other's slot."""
    original = calculus.opened

    def damaged(node, position, u):
        others = [k for k, x in enumerate(node.filled) if k != position and x.space == u.space]
        if not others:
            return original(node, position, u)
        operands = list(node.filled)
        operands[others[0]], moved = u, operands[others[0]]
        return original(replace(node, filled=tuple(operands)), position, moved)

    monkeypatch.setattr(calculus, "opened", damaged)
    assert first_bad(probe) is not None


def test_the_damage_is_repaired_after_each_test() -> None:
    assert first_bad(probe) is None


def itself(self: Operation, argument: int = 0) -> Operation:
    return self


def derivative_by_the_other(original):
    return lambda self, argument=0: original(self, len(self.arguments) - 1 - argument)


def first_order_twice(original):
    """psi' in place of psi''."""
    return lambda self, argument=0: self if any(self.orders) else original(self, argument)


@pytest.mark.parametrize(
    "change",
    [lambda original: itself, derivative_by_the_other, first_order_twice],
    ids=["psi for psi'", "the other argument", "psi' for psi''"],
)
def test_a_itself_of_an_operation_is_refuted(monkeypatch, change) -> None:
    monkeypatch.setattr(Operation, "derivative", change(Operation.derivative))
    assert first_bad(probe) is not None


def test_a_forgotten_gram_matrix_is_refuted(monkeypatch) -> None:
    assert first_bad(curved) is None
    monkeypatch.setattr(maps, "riesz", lambda u, inverse=False: u)
    assert first_bad(curved) is not None


def test_a_gram_matrix_for_its_inverse_is_refuted(monkeypatch) -> None:
    riesz = maps.riesz
    monkeypatch.setattr(maps, "riesz", lambda u, inverse=False: riesz(u, not inverse))
    assert first_bad(curved) is not None


def test_a_direction_that_is_forgotten_is_refuted(monkeypatch) -> None:
    """D^2 f . (e1, e2) without the terms of the second order of the left direction."""
    original = maps.second_derivative_map

    def damaged(name, output, left, right, taken):
        B = original(name, output, left, right, taken)
        B.body = maps.substituted(B.body, {B.left: scaled(2, B.left)})
        return B

    monkeypatch.setattr("derive.models.layers.second_derivative_map", damaged)
    assert first_bad(probe) is not None


def test_an_adjoint_that_is_the_map_is_refuted(monkeypatch) -> None:
    """L* = L is refuted for a map from a space to itself that is not self-adjoint."""
    turn = Layer.of("turn", state={"x": H}, given={"W": Hom(H, H)}, output=lambda x, W: W @ x)
    assert first_bad(turn) is None
    monkeypatch.setattr(LinearMap, "adjoint", property(lambda self: self))
    assert first_bad(turn) is not None


def test_the_oracle_does_not_know_the_calculus(damage) -> None:
    """Its components and partial derivatives stay when every rule of the calculus is gone."""

    def expected():
        oracle = Oracle(probe, SIZES)
        return oracle.output, [oracle.jacobian(v) for v in probe.differentiable]

    def forbidden(*_: object) -> None:
        raise AssertionError("the calculus was asked")

    before = expected()
    for table, node, _, _ in CASES:
        damage(table, node, lambda rule: forbidden)
    assert expected() == before
    with pytest.raises(AssertionError, match="the calculus was asked"):
        probe.D()
