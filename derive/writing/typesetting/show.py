r"""What a notebook shows: spaces, expressions, maps and layers as formulas (`hooks.typeset`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...calculus.maps import BilinearMap, LinearMap, variables_of
from ...language.expressions import Node
from ...language.hooks import typeset
from ...language.spaces import Real, Space, leaves
from ...language.text import Writer
from ...language.walk import topological
from ...models.layers import Layer
from .domains import space_latex
from .letters import word
from .lines import broken, width
from .titles import title
from .writer import latex_writer

LINE = 470.0  # the width that a notebook shows without scrolling


@typeset.register
def _(value: Space) -> str:
    return space_latex(value)


@typeset.register
def _(value: Node) -> str:
    writer = _writer(_names([value]))
    return aligned([("", writer.terms(value))])


@typeset.register
def _(value: LinearMap) -> str:
    v = value.variable
    writer = _writer([v.name, *_names([value.body, v])])
    spaces = rf"{space_latex(value.domain)} \to {space_latex(value.codomain)}"
    return _map(value.name, spaces, writer(v), writer.terms(value.body))


@typeset.register
def _(value: BilinearMap) -> str:
    e1, e2 = value.left, value.right
    writer = _writer([e1.name, e2.name, *_names([value.body, e1, e2])])
    domain = rf"{space_latex(e1.space)} \times {space_latex(e2.space)}"
    spaces = rf"{domain} \to {space_latex(value.body.space)}"
    pair = f"({writer(e1)}, {writer(e2)})"
    return _map(value.name, spaces, pair, writer.terms(value.body))


@typeset.register
def _(value: Layer) -> str:
    return aligned(equations(value))


def equations(layer: Layer, writer: Writer | None = None) -> list[tuple[str, list[str]]]:
    """The layer's lines, its locals in the user's order, then f(x; theta): left sides and terms."""
    writer = writer or latex_writer(
        layer.names, taken=[a.name for a in layer.arguments], form_names=layer.form_names
    )
    used = set(topological(layer.output))
    named = [node for node in layer.names if node in used]
    lines = [(writer(node), writer.terms(node)) for node in named]
    named_output = layer.output in layer.names
    returned = [writer(layer.output)] if named_output else writer.terms(layer.output)
    return [*lines, (signature(layer, writer), returned)]


def signature(layer: Layer, writer: Writer) -> str:
    r"""\operatorname{dense}(x; W, b)."""
    theta = ", ".join(writer(x) for x in layer.theta)
    others = (a.variable for a in layer.arguments if a.variable not in layer.theta)
    sides = [side for side in (", ".join(writer(x) for x in others), theta) if side]
    return f"{word(layer.name)}({'; '.join(sides)})"


def aligned(equations: Iterable[tuple[str, list[str]]], relation: str = "=") -> str:
    """Equations below each other, wide right sides broken."""
    rows: list[str] = []
    for left, terms in equations:
        head = f"{left} &{relation} " if left else "& "
        first, *more = broken(terms, LINE - width(left))
        rows += [f"{head}{first}", *(rf"&\quad {line}" for line in more)]
    if len(rows) == 1:
        return rows[0].replace("&", "", 1).strip()
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def _names(values: Sequence[Node]) -> list[str]:
    """The variables of expressions, except inverses of Gram matrices of their spaces."""
    found = (leaf for node in topological(*values) for leaf in leaves(node.space))
    grams = {gram for leaf in found if isinstance(leaf, Real) for gram in leaf.grams if gram}
    inverses = {f"{gram.name}_inverse" for gram in grams}
    return [x.name for x in variables_of(*values) if x.name not in inverses]


def _writer(names: Iterable[str]) -> Writer:
    return latex_writer({}, taken=list(names))


def _map(name: str, spaces: str, v: str, terms: list[str]) -> str:
    """L : E -> F, v |-> L . v, in one line if it fits."""
    shown = title(name)
    line = rf"{shown} : {spaces}, \quad {v} \mapsto {' '.join(terms)}"
    if width(line) <= LINE:
        return line
    first, *more = broken(terms, LINE - max(width(shown), width(v)))
    rows = [rf"{shown} &: {spaces} \\", rf"{v} &\mapsto {first}"]
    rows += [rf"\\ &\quad {line}" for line in more]
    return "\\begin{aligned}\n" + "\n".join(rows) + "\n\\end{aligned}"
