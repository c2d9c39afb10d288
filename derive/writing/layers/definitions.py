"""A layer as a person would write it: definitions, each a short formula in those before.

The user's locals keep their names.  Expressions that are used more than once, and arguments of
nonlinear functions, get a name as well, so that every formula is short and the chain rule is one
line for each name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...calculus.calculus import tangents
from ...language.abbreviations import DEPTH
from ...language.expressions import (
    Constant,
    Contraction,
    Elementwise,
    Held,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    Variable,
    is_zero,
    projection,
    tuple_of,
    variable,
)
from ...language.names import Numbered
from ...language.spaces import Product, Real
from ...language.walk import rewrite, topological
from ...models.layers import Layer

VECTORS, SCALARS = "zagdpq", "srtc"  # letters for expressions without a name of the user's


@dataclass(frozen=True)
class Definition:
    """variable := expression, in the variables before."""

    variable: Variable
    expression: Node


@dataclass(frozen=True)
class Definitions:
    """The lines of a layer: its arguments as tuples of arrays, the lines, and the output.

    arguments   each argument as variables of array spaces: itself, or a tuple of its components
    lines       every line in the variables before it
    output      a variable, or a tuple of them
    """

    arguments: Mapping[Variable, Node]
    lines: tuple[Definition, ...]
    output: Node

    @property
    def defined(self) -> dict[Variable, Node]:
        """The right side of each line, by its variable."""
        return {line.variable: line.expression for line in self.lines}


def definitions(layer: Layer, output: str) -> Definitions:
    """The lines of a rewritten layer; the output is called `output` unless it is a local."""
    layer = layer.rewritten
    names = _Names(layer, output)
    arguments = {a.variable: names.components(a.variable) for a in layer.arguments}
    opened = rewrite([layer.output], dict[Any, Node](arguments).get)
    own = {opened[node]: name for node, name in layer.names.items() if node in opened}
    root = opened[layer.output]
    cut = _Cut(root, own, names)
    returned = cut.returned(root, output)
    return Definitions(arguments, tuple(cut.lines), returned)


class _Names:
    """The names that are taken, and the choice of free ones."""

    def __init__(self, layer: Layer, output: str) -> None:
        self.layer = layer
        self.taken = {a.name for a in layer.arguments} | set(map(str, layer.sizes)) | {output}
        self.taken |= layer.words | {"u", "v", "w", "f"}
        self._unused = Numbered(self.taken)

    def free(self, wanted: str) -> str:
        """The name, followed by a number if it is taken."""
        return self._unused(wanted)

    def letter(self, node: Node) -> str:
        """A letter for an array or a number."""
        pool = VECTORS if isinstance(node.space, Real) and node.space.shape else SCALARS
        return self.free(next((x for x in pool if x not in self.taken), pool[0]))

    def components(self, x: Variable) -> Node:
        """A variable, or the tuple of variables that an element of a direct product is."""
        return self._opened(x, x)

    def _opened(self, node: Node, x: Variable) -> Node:
        if not isinstance(node.space, Product):
            return x if node is x else variable(self._local(node, x), node.space)
        parts = range(len(node.space.factors))
        return tuple_of(self._opened(projection(node, k), x) for k in parts)

    def _local(self, node: Node, x: Variable) -> str:
        """The user's name of a component, else the argument's name with the position."""
        if node in self.layer.names:
            return self.layer.names[node]
        position = ""
        while isinstance(node, Projection):
            position = f"_{node.position}{position}"
            node = node.operand
        return self.free(f"{x.name}{position}")


class _Cut:
    """The lines of an expression, which is cut where a part has or gets a name."""

    def __init__(self, root: Node, own: Mapping[Node, str], names: _Names) -> None:
        self.names, self.lines = names, list[Definition]()
        self.variables: dict[Node, Node] = {}
        order = topological(root)
        uses = Counter(operand for node in order for operand in node.operands)
        applied = {z for node in order if isinstance(node, Elementwise) for z in node.arguments}
        factors = {x for node in order if _is_product(node) for x in node.operands}
        depth: dict[Node, int] = {}
        for node in order:
            name, formula = own.get(node), _is_formula(node)
            inner = node in applied or (node in factors and not isinstance(node, Elementwise))
            depth[node] = 1 + max((depth[x] for x in node.operands), default=-1)
            inner = inner or (depth[node] >= DEPTH and node is not root)
            if name is None and formula and (uses[node] > 1 or inner):
                name = names.letter(node)
            if name is not None and not isinstance(node, (Variable, Tuple)):
                self.define(node, name)
                depth[node] = 0

    def define(self, node: Node, name: str) -> Variable:
        """A new line; the variable that stands for the node from here on."""
        x = variable(name, node.space)
        self.lines.append(Definition(x, self.short(node)))
        self.variables[node] = x
        return x

    def short(self, node: Node) -> Node:
        """The expression in the variables of the lines so far."""
        return rewrite([node], self.variables.get)[node]

    def returned(self, root: Node, name: str) -> Node:
        """The output as a variable, or as a tuple of variables."""
        if isinstance(root, Tuple):
            numbered = enumerate(root.components)
            return tuple_of(self.returned(part, f"{name}_{k}") for k, part in numbered)
        if root in self.variables:
            return self.variables[root]
        return root if isinstance(root, Variable) else self.define(root, name)


def _is_formula(node: Node) -> bool:
    """Whether it is more than a variable or number, or a multiple, slice or part of one."""
    if isinstance(node, (Variable, Constant, Projection)) or type(node) is Held:
        return False
    if not isinstance(node.space, Real):
        return False
    if isinstance(node, LinearCombination) and len(node.terms) < 2:
        return False
    if isinstance(node, Contraction) and len(node.operands) == 1 and node.is_pointwise:
        return False
    return not isinstance(node, Tuple)


def _is_product(node: Node) -> bool:
    """Whether it is a product of two or more factors; an embedding or a broadcast has one."""
    return isinstance(node, Contraction) and len(node.filled) > 1


# --- tangents of the lines


@dataclass(frozen=True)
class Derived:
    """The tangents of lines along directions of some variables.

    moved   the direction or tangent of every variable that moves
    lines   the tangent of each line that moves, in these
    """

    moved: Mapping[Variable, Variable]
    lines: tuple[Definition, ...]

    def of(self, node: Node) -> Node:
        """The tangent of an output variable or a tuple of them; zero if it does not move."""
        return tangents([node], dict(self.moved))[node]


def derived(
    lines: Iterable[Definition], directions: Mapping[Variable, Variable], mark: str
) -> Derived:
    """z_dot = D e . (the tangents before) for every line z = e; `mark` is appended to the name."""
    moved, found = dict(directions), list[Definition]()
    known: dict[Node, Node] = {}
    for line in lines:
        read = {
            x: moved[x]
            for x in topological(line.expression)
            if isinstance(x, Variable) and x in moved
        }
        along = tangents([line.expression], read)[line.expression]
        known[line.expression] = line.variable
        along = rewrite([along], known.get)[along]  # exp' is exp, whose value already has a name
        if not is_zero(along):
            x = variable(f"{line.variable.name}{mark}", line.variable.space)
            moved[line.variable] = x
            found.append(Definition(x, along))
    return Derived(moved, tuple(found))


def leaves_of(node: Node) -> Iterator[Variable]:
    """The variables of an argument or a result in order."""
    if isinstance(node, Tuple):
        for part in node.components:
            yield from leaves_of(part)
    elif isinstance(node, Variable):
        yield node


@dataclass
class Closing:
    """The expressions that the variables of some lines stand for, in the arguments alone."""

    values: dict[Node, Node] = field(default_factory=dict)

    def add(self, lines: Iterable[Definition]) -> Closing:
        """Add the variables of these lines."""
        for line in lines:
            self.values[line.variable] = self(line.expression)
        return self

    def __call__(self, node: Node) -> Node:
        return rewrite([node], self.values.get)[node]
