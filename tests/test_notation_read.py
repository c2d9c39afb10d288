"""What is written in LaTeX means what the expression means: it is read again and computed."""

import numpy as np
import pytest
from declared import LAYERS
from formulas import FORMULAS, SIZES
from latex_reader import read
from latex_values import Unreadable
from points import draw
from shipped import SINGLE

from derive.evidence.checks.drawing import unequal_sizes
from derive.language.expressions import (
    Argmax,
    Contraction,
    Elementwise,
    Variable,
    argmax,
    contraction,
    together,
    variable,
)
from derive.language.form_names import names_of
from derive.language.patterns import is_over_all
from derive.language.reference import shape_of, values_of
from derive.language.scalars.shipped import shipped
from derive.language.spaces import Indices, Real
from derive.language.walk import topological
from derive.writing.typesetting.letters import symbol, word
from derive.writing.typesetting.writer import latex_writer, unnamed_forms

EPS = float(np.finfo(float).eps)
EVERY = SINGLE | LAYERS
# the adjoint of a sum over all entries of a matrix is a matrix of ones, whose size is not written
# nor how many slices there are where an embedding puts one, if parameters differ in that
# nor over how many axes a sum of windows goes
UNSIZED = {"squares", "peephole_lstm", "gru_reset_before", "overlapping_max_pooling"}


def function_of(node: Contraction, sizes):
    """The form of a contraction as a function of its inputs, or of a cotangent with one open."""
    last, spaces = len(node.form.slots) - 1, {node.opened: node.space}
    spaces |= dict(zip(node.slots, (x.space for x in node.filled), strict=True))

    def form(given, u=None):
        opened = last if u is None else next(k for k, x in enumerate(given) if x is None)
        slots = {k: variable(f"x{k}", spaces[k]) for k in sorted(spaces) if k != opened}
        picks = [variable(f"k{k}", x.space) for k, x in enumerate(node.selectors)]
        inputs = {x: given[k] if k < last else u for k, x in slots.items()}
        values = {x: np.broadcast_to(v, shape_of(x.space, sizes)) for x, v in inputs.items()}
        places = [p for pick in given[last:] for p in (pick if isinstance(pick, tuple) else [pick])]
        values |= dict(zip(picks, places, strict=True))
        whole = contraction(spaces[opened], node.form, opened, list(slots.values()), picks)
        return values_of([whole], values, sizes)[0]

    return form


def forms_of(root, writer, sizes):
    """Every form of the expression by how it looks."""
    letters = {form: letter for letter, form in unnamed_forms(writer).items()}
    names = names_of(root)
    found = {}
    for node in topological(root):
        if isinstance(node, Contraction):
            name = names.get(node.form)
            look = letters.get(node.form) if name is None else word(name.word)
            if look is not None and (name is None or not name.ones):
                found[look] = either(found.get(look), function_of(node, sizes))
        if isinstance(node, Argmax) and not is_over_all(node):
            name = names.get(node.form)
            unnamed = name is None or name.ones
            look = letters.get(node.form) if unnamed else word(name.word)
            found[rf"\operatorname{{argmax}}_{{{look}}}"] = places_of(node, sizes)
    return found


def either(one, other):
    """A form of several sizes: the one that fits the factors."""

    def form(*given):
        try:
            return one(*given)
        except ValueError:
            return other(*given)

    return other if one is None else form


def places_of(node: Argmax, sizes):
    """Where an array is largest: for each index of the window its values."""
    x = variable("x", node.operand.space)
    every = [argmax(node.form, one.space, x, one.position) for one in together(node)]

    def places(array):
        found = values_of(every, {x: np.broadcast_to(array, shape_of(x.space, sizes))}, sizes)
        return tuple(found) if len(found) > 1 else found[0]

    return places


def operations_of(root):
    """The operations of an expression by name, and the shipped ones."""
    found = (node.operation for node in topological(root) if isinstance(node, Elementwise))
    return dict(shipped) | {psi.base: psi for psi in found if not any(psi.orders)}


def meant_and_read(root, names, sizes, functions, stack=4):
    """The expression's value, and what a reader computes from its formula."""
    writer, rng = latex_writer(names), np.random.default_rng(1)
    variables = [node for node in topological(root) if isinstance(node, Variable)]
    given = {x: draw(x.space, sizes, rng) for x in variables}
    shown = [*variables, *(node for node in topological(root) if node in names)]
    meant, *values = values_of([root, *shown], given, sizes)
    symbols = {symbol(size.name): np.float64(number) for size, number in sizes.items()}
    latex = writer.formula(root)
    symbols |= {writer(node): value for node, value in zip(shown, values, strict=True)}
    bounds = [x.space.bound for x in variables if isinstance(x.space, Indices)]
    unit = int(bounds[0].subs(sizes)) if bounds else 0
    forms = forms_of(root, writer, sizes)
    return meant, read(latex, symbols, functions, forms, unit=unit, stack=stack)


def agree(meant, found) -> bool:
    """Equal but for rounding: the two sums differ in order only, of at most a thousand products."""
    if isinstance(meant, tuple):
        return len(meant) == len(found) and all(map(agree, meant, found))
    if np.ndim(found) > np.ndim(meant):
        return False
    found = np.broadcast_to(found, np.shape(meant))
    size = max(1.0, float(np.nanmax(np.abs(meant), initial=0.0)))
    undefined = np.isnan(meant) & np.isnan(found)  # as the root of a negative variance
    return bool(np.all(undefined | (np.abs(meant - found) <= 1000 * EPS * size)))


def expressions(layer):
    """The output, and the maps of both orders with their adjoints."""
    yield layer.output
    for x in layer.differentiable:
        derivative = layer.derivative(x.name)
        yield from (derivative.body, derivative.adjoint.body)
        for y in layer.differentiable:
            second = layer.second(x.name, y.name)
            yield from (second.body, second.hook().adjoint.body)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in UNSIZED])
def test_the_maps_of_a_layer(name) -> None:
    layer = EVERY[name]
    sizes = unequal_sizes(layer)
    functions = operations_of(layer.output)
    extents = (x.space.shape[:1] for x in layer.parameters if isinstance(x.space, Real))
    stack = max((int(e) for first in extents for e in first if e.is_Integer), default=4)
    for root in expressions(layer):
        assert agree(*meant_and_read(root, layer.names, sizes, functions, stack)), root


# a sum over everything into a space that only the form knows; an argmax that is named by its form
READ = {name: x for name, x in FORMULAS.items() if name not in ("nothing read", "pooling")}


@pytest.mark.parametrize("name", READ)
def test_formulas_without_names(name) -> None:
    assert agree(*meant_and_read(READ[name], {}, SIZES, operations_of(READ[name])))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (r"W (a \odot b)", r"W a \odot b"),
        (r"(W a) \odot c", r"W a \odot c"),
        (r"s (a + b)", "s a + b"),
        (r"a - (b + a)", "a - b + a"),
        (r"a \oslash (b \odot a)", r"a \oslash b \odot a"),
        (r"W^{\mathsf T} c", "W c"),
        (r"-(\langle a, b \rangle - s)", r"-\langle a, b \rangle - s"),
        (r"\frac{s}{t}\,(s + t)", r"\frac{s}{t}\,s + t"),
    ],
)
def test_a_reader_sees_parentheses_that_are_not_there(right, wrong) -> None:
    """The judge can say no: these pairs differ, or one of them can't be read."""
    rng = np.random.default_rng(0)
    shapes = {"a": (3,), "b": (3,), "c": (4,), "W": (4, 3), "s": (), "t": ()}
    symbols = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    value = read(right, symbols, shipped, {})
    try:
        other = read(wrong, symbols, shipped, {})
    except (Unreadable, ValueError):
        return
    assert np.shape(other) != np.shape(value) or not np.allclose(other, value)
