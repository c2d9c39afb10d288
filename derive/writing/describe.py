"""A layer in words: formula and spaces, derived maps of both orders, kernels and their cost.

For a cell or a recurrent network also: which form of RTRL applies and why, and the cost of each
method per step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..calculus.maps import LinearMap
from ..kernels.lowering.cost import Cost, cost_of
from ..kernels.lowering.lower import lower
from ..kernels.sequences.recurrent_cost import (
    MethodCost,
    bptt_cost,
    forward_cost,
    hybrid_cost,
    rtrl_cost,
)
from ..kernels.sequences.sequences import why_offline
from ..kernels.sequences.steps import Steps
from ..language.expressions import is_zero
from ..language.places import SourceLine
from ..language.text import Writer
from ..models.cells import Cell
from ..models.composing import recurrent
from ..models.layers import Layer
from ..models.levels import Recurrent
from ..models.programs import Program, programs
from ..models.words import computed, formula
from ..recurrence.hybrid import Hybrid
from ..recurrence.influence import Influence
from ..recurrence.recurrent_forms import InfluenceForm, RecurrentForms, recurrent_forms


@dataclass(frozen=True)
class ArgumentText:
    """An argument: its name, its space and its role."""

    name: str
    space: str
    role: str


@dataclass(frozen=True)
class RewriteText:
    """A law that rewrote the formula before differentiation, and the two sides.

    `domain` says where the two differ, by convention; usually it is empty.
    """

    law: str
    before: str
    after: str
    domain: str


@dataclass(frozen=True)
class MapText:
    """A derived map L: `variable` -> `body`, from `domain` to `codomain`.

    `symbol` is D_x, or D^2_(x, W) of a second-order map, which is the adjoint of a hook.
    """

    symbol: str
    name: str
    order: int
    variable: str
    domain: str
    codomain: str
    body: str
    zero: bool


@dataclass(frozen=True)
class KernelText:
    """A kernel: the equations that it computes, and its cost in closed form."""

    name: str
    law: tuple[str, ...]
    cost: Cost


@dataclass(frozen=True)
class RecurrentText:
    """The gradients over a sequence: the form of RTRL, and the cost of each method.

    If RTRL does not apply, `forms` is None and `why_offline` says why.
    """

    forms: RecurrentForms | None
    why_offline: str
    costs: tuple[MethodCost, ...]


@dataclass(frozen=True)
class Description:
    """Everything that `derive show` prints of a layer."""

    name: str
    signature: str
    doc: str
    declared: SourceLine | None
    arguments: tuple[ArgumentText, ...]
    output: str
    formula: tuple[str, ...]
    computed: tuple[str, ...]
    rewrites: tuple[RewriteText, ...]
    maps: tuple[MapText, ...]
    kernels: tuple[KernelText, ...]
    recurrent: RecurrentText | None


def describe(layer: Layer) -> Description:
    """The description of a layer."""
    return Description(
        name=layer.name,
        signature=layer.signature,
        doc=layer.doc,
        declared=layer.place,
        arguments=tuple(
            ArgumentText(a.name, str(a.variable.space), a.role) for a in layer.arguments
        ),
        output=str(layer.output.space),
        formula=tuple(formula(layer)),
        computed=tuple(computed(layer)),
        rewrites=tuple(rewrites(layer)),
        maps=tuple(maps(layer)),
        kernels=tuple(KernelText(p.name, p.law, cost_of(lower(p))) for p in programs(layer)),
        recurrent=recurrent_gradients(layer),
    )


def rewrites(layer: Layer) -> Iterator[RewriteText]:
    """Each law that was applied, in order."""
    writer = Writer(layer.names)
    for found in layer.rewrites:
        texts = (writer.formula(found.before), writer.formula(found.after))
        yield RewriteText(found.law, *texts, found.domain)


def maps(layer: Layer) -> Iterator[MapText]:
    """Each first derivative and its adjoint, then the adjoint of each second derivative's hook.

    A recurrent network has none of its own: the maps of its cells and predictions are composed over
    time, and one line for a step of several cells would have thousands of terms.
    """
    if isinstance(layer, Recurrent):
        return
    for x in layer.differentiable:
        derivative = layer.derivative(x.name)
        for linear in (derivative, derivative.adjoint):
            yield _map(layer, linear.name, linear, order=1)
    for x in layer.differentiable:
        for y in layer.differentiable:
            second = layer.second(x.name, y.name)
            yield _map(layer, second.name, second.hook().adjoint, order=2)


def recurrent_gradients(layer: Layer) -> RecurrentText | None:
    """The gradients of a recurrent network, or of a cell whose state is the prediction."""
    if isinstance(layer, Recurrent):
        return _gradients(layer)
    return _gradients(recurrent(layer.name, layer)) if isinstance(layer, Cell) else None


def _gradients(network: Recurrent) -> RecurrentText:
    steps = Steps(network)
    transitions, seen = list(steps.transitions.values()), _observations(steps)
    costs = [
        forward_cost(steps.kernel, transitions, steps.observations.values()),
        bptt_cost(steps.kernel, transitions, seen),
    ]
    if not network.is_online:
        return RecurrentText(None, why_offline(network), tuple(costs))
    influence = Influence(transitions[0])
    costs.append(rtrl_cost(steps.kernel, influence, seen))
    costs.append(hybrid_cost(steps.kernel, Hybrid(influence), seen))
    return RecurrentText(recurrent_forms(influence), "", tuple(costs))


def _observations(steps: Steps) -> list[Program]:
    """The programs that propagate the losses back through the predictions, last level first."""
    *below, last = steps.observations.values()
    seen = [] if steps.network.loss is None else [last.observe()]
    return [*seen, *(level.backward() for level in reversed(below))]


def _map(layer: Layer, name: str, linear: LinearMap, order: int) -> MapText:
    return MapText(
        symbol=name.removesuffix(f" {layer.signature}"),
        name=linear.name,
        order=order,
        variable=linear.variable.name,
        domain=str(linear.domain),
        codomain=str(linear.codomain),
        body=Writer(layer.names).whole(linear.body),
        zero=is_zero(linear.body),
    )


# --- as lines


def lines(found: Description) -> Iterator[str]:
    """The lines of `derive show`; second-order maps that are zero share one."""
    first = [m for m in found.maps if m.order == 1]
    second = [m for m in found.maps if m.order == 2 and not m.zero]
    zeros = [m.symbol for m in found.maps if m.order == 2 and m.zero]
    yield found.signature
    if found.doc:
        yield f"    {found.doc.splitlines()[0]}"
    yield from _section("spaces", _space_lines(found))
    yield from _section("formula", found.formula)
    if found.computed:
        yield from _section("what is derived and computed", found.computed)
    if found.maps:
        yield from _section("first order", _map_lines(first))
        last = [f"zero: {', '.join(zeros)}"] if zeros else []
        yield from _section("second order, adjoint", [*_map_lines(second), *last])
    if found.kernels:
        yield from _section("kernels", _kernel_lines(found.kernels))
    if found.recurrent:
        yield from _section("recurrent gradients", _form_lines(found.recurrent))
        costs = _method_lines(found.recurrent.costs)
        yield from _section("cost of one step and one sample", costs)


def rewrite_lines(found: Description) -> Iterator[str]:
    """The lines of `derive show --rewrites`: each law and its two sides."""
    yield found.signature
    if not found.rewrites:
        yield "    no law applies: the formula is derived and computed as it is declared"
    for law in found.rewrites:
        yield f"    {law.law}{f', but for {law.domain}' if law.domain else ''}:"
        yield f"        {law.before}"
        yield f"        = {law.after}"


def _section(title: str, lines_: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    yield from (f"    {line}" for line in lines_)


def _space_lines(found: Description) -> Iterator[str]:
    yield from (f"{a.name} in {a.space}, {a.role}" for a in found.arguments)
    yield f"{found.signature} in {found.output}"


def _map_lines(found: Iterable[MapText]) -> Iterator[str]:
    for linear in found:
        yield f"{linear.name} : {linear.domain} -> {linear.codomain}"
        yield f"    {linear.variable} -> {linear.body}"


def _kernel_lines(found: Iterable[KernelText]) -> Iterator[str]:
    for kernel in found:
        yield f"{kernel.name}: {'; '.join(kernel.law)}"
        yield from (f"    {line}" for line in kernel.cost.lines)


def _form_lines(found: RecurrentText) -> Iterator[str]:
    """The form of RTRL, and the blocks that decide it."""
    forms = found.forms
    if forms is None:
        yield f"no RTRL: {found.why_offline}"
        return
    yield f"RTRL is {forms.form}: {forms.why}"
    yield "D f:"
    yield from (f"    {b.row} by {b.column}: {b.form}" for b in forms.blocks)
    yield "nabla f:"
    shown = (i for i in forms.immediate if i.form != "zero")
    yield from (f"    {i.row} by {i.parameter}: {i.form}" for i in shown)
    yield f"J: {forms.numbers} numbers"
    for s in forms.influence:
        yield from (f"    {line}" for line in _influence_lines(s))


def _influence_lines(s: InfluenceForm) -> Iterator[str]:
    yield f"{s.name}, {s.row} by {', '.join(s.parameters)}: {s.form}, {s.shape}"
    yield f"    {s.numbers} numbers, {s.why}"


def _method_lines(costs: Iterable[MethodCost]) -> Iterator[str]:
    for method in costs:
        yield f"{method.method}: {_work(method.flops, method.leading, method.calls)}"
        yield f"    keeps {method.numbers} numbers, {method.kept}"
        for part in method.parts:
            yield f"    {part.part}: {'; '.join(part.law)}"
            yield f"        {_work(part.flops, part.leading, part.calls)}"


def _work(flops: str, leading: str, calls: str) -> str:
    short = "" if leading == flops else f", leading {leading}"
    called = f", {calls} calls of elementwise functions" if calls != "0" else ""
    return f"{flops} flops{short}{called}"
