"""Only what linear algebra says is written as linear algebra: whole axes, different indices."""

import numpy as np
import pytest
import sympy
from latex_reader import read
from points import draw
from test_notation_read import agree, forms_of, operations_of
from test_text import back

from derive import R, dims, elementwise_function, form, indices, tanh, variable
from derive.calculus.calculus import tangent
from derive.language.expressions import Contraction, argmax, contraction, is_zero
from derive.language.forms import make_form
from derive.language.notation import Notation
from derive.language.patterns import PATTERNS, Pattern, for_every_pattern, pattern
from derive.language.reference import values_of
from derive.language.scalars.shipped import shipped
from derive.language.spaces import Indices
from derive.language.text import Writer
from derive.language.walk import topological
from derive.writing.layers.pairing import moves
from derive.writing.typesetting.multilinear import spelled
from derive.writing.typesetting.writer import latex_writer, used_forms

n, m, k = dims("n m k")
SIZES = {n: 3, m: 4, k: 5}
i, j, s, t = indices("i j s t")
x, y, double = variable("x", R(m)), variable("y", R(m)), variable("d", R(2 * m))
A, B, S = variable("A", R(n, m)), variable("B", R(m, m)), variable("S", R(m, m))
wide, number = variable("M", R(n, 2 * m)), variable("r", R())
cube = variable("T", R(m, m, n))

# name: the declaration, and its operands
UNPLAIN = {
    "trace": (form("trace", A=(i, i), to=()), (S,)),
    "every second, summed": (form("evens", x=(2 * i,), to=(), ranges={i: m}), (double,)),
    "pair of every second": (
        form("pair", x=(2 * i,), y=(2 * i,), to=(), ranges={i: m}),
        (double, double * double),
    ),
    "columns": (
        form("columns", A=(j, 2 * i), x=(2 * i,), to=(j,), ranges={i: m}),
        (wide, double),
    ),
    "matrix of the diagonal": (form("kept", A=(i, i), to=(i, i)), (S,)),
    "product of diagonals": (form("kept2", A=(i, i), B=(i, i), to=(i, i)), (S, B)),
    "beyond the end": (
        form("beyond", x=(i + n,), y=(i + n,), to=(), ranges={i: m}),
        (double, double * double),
    ),
    "diagonal": (form("diagonal", A=(i, i), to=(i,)), (S,)),
    "Diag": (form("Diag", x=(i,), to=(i, i)), (x,)),
    "crop": (form("crop", x=(i + 1,), to=(i,), ranges={i: m - 2}), (x,)),
    "fixed": (form("fixed", x=(7,), to=()), (x,)),
    "shifted rows": (form("rows", A=(i, j), x=(j,), to=(i, i)), (B, x)),
    "repeated indices": (form("cubes", T=(i, i, j), to=(j,)), (cube,)),
    "a range that nothing reads": (form("times", r=(), to=(), ranges={i: m}), (number,)),
    "the second axis": (form("last", A=(i, 1), to=(i,)), (A,)),
}


def written(case):
    declared, operands = UNPLAIN[case]
    node = declared(*operands)
    return node, declared.__name__


@pytest.mark.parametrize("case", UNPLAIN)
def test_what_reads_no_whole_axes_is_no_pattern(case) -> None:
    node, name = written(case)
    assert pattern(node) is None
    assert latex_writer({}).formula(node).startswith(rf"\operatorname{{{name}}}(")
    text = Writer({}).formula(node)
    assert "[" in text or name == "times"
    assert not text.startswith("<") and "] (.) " not in text and "^T" not in text


@pytest.mark.parametrize("case", UNPLAIN)
def test_adjoints_of_such_forms_are_named(case) -> None:
    node, name = written(case)
    _, operands = UNPLAIN[case]
    u = variable("u", node.space)
    adjoint = back(node, u, operands[0])
    for part in topological(adjoint):
        if isinstance(part, Contraction) and part.form == node.form:
            assert pattern(part) is None
    assert rf"\operatorname{{{name}}}" in latex_writer({}).formula(adjoint)


@pytest.mark.parametrize("case", UNPLAIN)
def test_such_formulas_are_read_as_they_are_meant(case) -> None:
    """What is printed computes what the expression says, and so does its adjoint."""
    declared, operands = UNPLAIN[case]
    node = declared(*operands)
    whole = tanh(node) if node.space.shape else node
    rng = np.random.default_rng(3)
    leaves = {v: draw(v.space, SIZES, rng) for v in (x, double, wide, S, B, A, number, cube)}
    u = variable("u", node.space)
    leaves[u] = draw(u.space, SIZES, rng)
    for root in (whole, back(node, u, operands[0])):
        writer = latex_writer({})
        symbols = {writer(v): value for v, value in leaves.items()}
        latex, forms = writer.formula(root), forms_of(root, writer, SIZES)
        (meant,) = values_of([root], leaves, SIZES)
        assert agree(meant, read(latex, symbols, operations_of(root), forms, unit=0, stack=4))


def test_plain_forms_are_patterns_under_any_name() -> None:
    """The judge can say yes."""
    product = form("product", A=(i, j), x=(j,), to=(i,))
    assert pattern(product(A, x)).name == "image"
    assert pattern(form("sum", x=(i,), to=())(x)).name == "total"
    assert pattern(form("first", A=(0, j), to=(j,))(A)).name == "slice_"


@pytest.mark.parametrize("extent", [m - 1, m + 1])
def test_an_index_over_a_part_of_an_axis_is_no_inner_product(extent) -> None:
    part = make_form([(i,), (i,), ()], {i: extent})
    assert pattern(contraction(R(), part, 2, (x, y))) is None
    assert pattern(contraction(R(), make_form([(i,), (i,), ()], {i: m}), 2, (x, y))) is not None


def test_the_largest_of_some_entries_is_not_written_as_the_largest_of_all() -> None:
    every_second = make_form([(2 * i,), ()], {i: m})
    read_one = make_form([(i,), ()], {i: 2 * m}, [(i, ())])
    place = argmax(every_second, Indices(2 * m, ()), double)
    node = contraction(R(), read_one, 1, (double,), (place,))
    shown = r"\langle e_{\operatorname{argmax}_{B_{1}} d}, d \rangle"
    assert latex_writer({}).formula(node) == shown
    assert "max(d)" not in Writer({}).formula(node).replace("argmax(d)", "")


def test_the_form_of_an_argmax_is_listed() -> None:
    windows = make_form([(2 * i + s,), (i,)], {i: n, s: 2})
    node = argmax(windows, Indices(sympy.Integer(2), (n,)), x)
    writer = latex_writer({})
    assert writer(node) == r"\operatorname{argmax}_{B_{1}} x"
    assert used_forms(writer) == {"B_{1}": "a=(2*i + j,), to=(i,), ranges={i: n, j: 2}"}


def test_an_entry_at_one_of_several_class_indices_is_not_e_k() -> None:
    classes = variable("c", Indices(m, (k,)))
    second = make_form([(i,), ()], {i: m}, [(i, (sympy.Integer(1),))])
    node = contraction(R(), second, 1, (x,), (classes,))
    assert pattern(node) is None


# --- forms as they are declared


# what is printed; the same, declared; the operands' shapes; the form
DECLARED = [
    (
        "a=(i,), to=(j, i), ranges={j: n}",
        {"a": (i,), "to": (j, i), "ranges": {j: n}},
        [(m,)],
        make_form([(i,), (j, i)], {i: m, j: n}),
    ),
    (
        "a=(2*i + j,), b=(j,), to=(i,), ranges={i: n}",
        {"a": (2 * i + s,), "b": (s,), "to": (i,), "ranges": {i: n}},
        [(7,), (3,)],
        make_form([(2 * i + s,), (s,), (i,)], {i: n, s: sympy.Integer(3)}),
    ),
    (
        "a=(), to=(i,), ranges={i: m}",
        {"a": (), "to": (i,), "ranges": {i: m}},
        [()],
        make_form([(), (i,)], {i: m}),
    ),
    (
        "a=(), to=(), ranges={i: m}",
        {"a": (), "to": (), "ranges": {i: m}},
        [()],
        make_form([(), ()], {i: m}),
    ),
    (
        "a=(i + 1, j), to=(j, i), ranges={i: n - 2}",
        {"a": (i + 1, j), "to": (j, i), "ranges": {i: n - 2}},
        [(n, m)],
        make_form([(i + 1, j), (j, i)], {i: n - 2, j: m}),
    ),
]


@pytest.mark.parametrize(("text", "said", "shapes", "wanted"), DECLARED)
def test_a_form_is_spelled_as_it_is_declared(text, said, shapes, wanted) -> None:
    operands = [variable(f"x{place}", R(*shape)) for place, shape in enumerate(shapes)]
    node = form("made", **said)(*operands)
    assert isinstance(node, Contraction) and node.form == wanted
    assert spelled(wanted) == text


# --- reasons of the moves

FLIP = form("flip", x=(m - 1 - i,), to=(i,), ranges={i: m})
REASONS = {
    "Diag": (UNPLAIN["Diag"], r"\operatorname{Diag}v"),
    "diagonal": (UNPLAIN["diagonal"], r"\operatorname{Diag}u"),
    "trace": (UNPLAIN["trace"], r"\operatorname{tr}A"),
    "flip": ((FLIP, (x,)), "definition of the adjoint"),
    "crop": (UNPLAIN["crop"], "definition of the adjoint"),
    "kept": (UNPLAIN["matrix of the diagonal"], "definition of the adjoint"),
    "transposition": (
        (form("turn", A=(i, j), to=(j, i)), (A,)),
        "the adjoint of a transposition",
    ),
    "permutation": (
        (form("roll", T=(i, j, s), to=(s, i, j)), (cube,)),
        "the adjoint of a permutation of axes",
    ),
    "three slots, all summed": (
        (form("three", A=(i, j), x=(j,), y=(i,), to=()), (S, x, y)),
        "the adjoint of a partial map",
    ),
    "every second": (UNPLAIN["columns"], "the adjoint of a partial map"),
    "a matrix": ((form("map", A=(i, j), x=(j,), to=(i,)), (A, x)), r"u\,x^{\mathsf T}"),
}


@pytest.mark.parametrize("case", REASONS)
def test_the_reason_is_the_law_of_that_form(case) -> None:
    (declared, operands), said = REASONS[case]
    direction = variable("v", operands[0].space)
    node = tangent(declared(*operands), {operands[0]: direction})
    assert not is_zero(node)
    (move,) = moves(variable("u", node.space), node, {direction})
    assert len(move.laws) == 1 and said in move.laws[0]


# --- signs of the formula


def test_a_sum_behind_a_plus_has_no_parentheses() -> None:
    assert latex_writer({}).formula(x + (-y + tanh(x))) == r"x - y + \tanh(x)"
    assert latex_writer({}).formula(x - (-y + tanh(x))) == r"x - (-y + \tanh(x))"
    assert Writer({}).formula(x + (-y + tanh(x))) == "x - y + tanh(x)"


def test_equal_numbers_are_a_power() -> None:
    writer, c = latex_writer({}), variable("c", R())
    assert writer.formula(c * c) == "c^{2}"
    assert writer.formula(number * c * number) == "r^{2} c"
    assert writer.formula((c * c) ** 2) == "c^{4}"
    assert writer.formula(c / (number * number)) == r"\frac{c}{r^{2}}"
    assert writer.formula((c * c) / number) == r"\frac{c^{2}}{r}"
    assert agree(9.0, read(writer.formula(c * c), {"c": np.float64(3)}, shipped, {}))


def test_a_variable_called_T_is_not_the_sign_of_transposition() -> None:
    T = variable("T", R(n, m))
    formula = latex_writer({}).formula(back(T @ x, variable("w", R(n)), x))
    assert formula == r"T^{\mathsf T} w"
    rng = np.random.default_rng(5)
    matrix, w = rng.normal(size=(3, 4)), rng.normal(size=3)
    found = read(formula, {"T": matrix, "w": w}, shipped, {})
    assert agree(matrix.T @ w, found)


def test_only_the_inverse_of_a_gram_matrix_is_an_inverse() -> None:
    ordinary = variable("x_inverse", R(m))
    assert latex_writer({}).formula(ordinary) == r"x_{\mathrm{inverse}}"
    matrix = variable("A_inverse", R(m, m))
    writer = latex_writer({}, taken=["A_inverse"])
    assert writer.formula(matrix) == r"A_{\mathrm{inverse}}"
    assert latex_writer({}).formula(variable("G_inverse", R(m, m))) == "G^{-1}"


OWN = {
    "power_up": (1, lambda t: t + sympy.exp(t)),
    "reciprocal": (1, lambda t: t + 1 / (1 + t**2)),
    "root": (1, lambda t: t**2 + 1),
    "quotient": (2, lambda a, b: a * sympy.exp(b)),
    "difference": (2, lambda a, b: a + b**2),
    "weighed": (2, lambda a, b: a * sympy.exp(b)),
}


@pytest.mark.parametrize("name", OWN)
def test_a_function_of_the_users_is_not_taken_for_one_of_that_name(name) -> None:
    count, formula = OWN[name]
    node = elementwise_function(name, formula)(*(x, tanh(x))[:count])
    shown = ", ".join(["x", "tanh(x)"][:count])
    assert Writer({}).formula(node) == f"{name}({shown})"
    command = latex_writer({})(node)
    assert command.startswith(rf"\operatorname{{{name}}}(".replace("_", r"\_"))


# --- every pattern has its notation and its law


def test_a_pattern_without_a_law_is_an_error_in_words_where_the_table_is_declared():
    table = dict.fromkeys(PATTERNS, "a law")
    assert for_every_pattern("laws", table) == table
    for name in PATTERNS:
        less = {other: law for other, law in table.items() if other != name}
        with pytest.raises(ValueError, match=rf"^laws: one entry .* add \['{name}'\]"):
            for_every_pattern("laws", less)
    with pytest.raises(ValueError, match=r"take out \['hadamart'\]"):
        for_every_pattern("laws", {**table, "hadamart": "a law"})


def test_a_pattern_is_one_of_those_that_a_notation_writes():
    for name in PATTERNS:
        assert callable(getattr(Notation, name))
    with pytest.raises(ValueError, match="'hadamart' is no pattern"):
        Pattern("hadamart", (x, y))
