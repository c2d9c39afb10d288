"""What a layer's kernels compute, as expressions: forward, tangent, backward, tangent_backward.

    forward           f(x; theta), and what backward needs
    tangent           Df . x_dot + nabla f . theta_dot
    backward          D*f . y_bar into x_bar, nabla*f . y_bar into theta_bar
    tangent_backward  the derivative of backward along (x_dot, theta_dot, y_bar_dot)
    gradient          of a scalar layer: the mean over the batch and its gradient

The layer is lifted over the batch before it is derived, so that the sums over the batch are found
by the calculus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, count

import sympy

from ..calculus.calculus import cotangents, tangents
from ..language.expressions import (
    Node,
    Variable,
    constant,
    is_zero,
    linear_combination,
    variable,
)
from ..language.names import unused
from ..language.normal_form import normal
from ..language.riesz import riesz
from ..language.roles import GIVEN, Argument
from ..language.spaces import R
from ..language.walk import storage, topological
from ..vocabulary.linear import total_sum
from .layers import Layer
from .levels import Recurrent
from .networks import Network
from .saved import saved_border

BATCH = sympy.Symbol("batch", integer=True, nonnegative=True)


TANGENT, COTANGENT = "tangent", "cotangent"


@dataclass(frozen=True)
class Result:
    """An output of a kernel: its name, its expression, and whether it has the batch axis.

    `adds` says that the expression is added to what is there.  With `where`, a mask over the
    batch, it is set for those samples where the mask is not zero; all else stays as it was.
    """

    name: str
    node: Node
    batched: bool = True
    adds: bool = False
    where: Node | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """One kernel before lowering."""

    layer: Layer
    name: str
    law: tuple[str, ...]
    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]
    accumulate: bool
    saves: tuple[Node, ...]
    reads_saved: bool
    names: Mapping[Node, str]
    extra: tuple[sympy.Symbol, ...] = ()  # sizes that are not the layer's

    @property
    def sizes(self) -> tuple[sympy.Symbol, ...]:
        """The sizes of a call: the batch's, the layer's, others."""
        return (BATCH, *(s for s in self.layer.sizes if s != BATCH), *self.extra)

    @property
    def mode(self) -> str:
        """Whether a result that is made for the caller has to start from zero."""
        adds = any(self.adds(result) for result in self.results)
        return "accumulate" if adds else "overwrite"

    def adds(self, result: Result) -> bool:
        """Whether a result is added to what is there, rather than overwritten."""
        return self.accumulate or result.adds


def programs(layer: Layer) -> tuple[Program, ...]:
    """The kernels of a layer in the order of their definition; a network has its loss's too.

    A recurrent network has no kernels of one step: they run over sequences.
    """
    if isinstance(layer, Recurrent):
        return ()
    made = tuple(Derivation(layer).programs())
    if isinstance(layer, Network) and layer.loss is not None:
        loss = Derivation(layer.loss_layer, ("J", "loss", "value"))
        return (*made, loss.value("loss"), loss.gradient())
    return made


class Derivation:
    """The batched layer with its tangents, cotangents and their derivatives."""

    def __init__(self, layer: Layer, letters: tuple[str, ...] = ()) -> None:
        self.layer = layer
        self.batched = layer.batched(BATCH)
        x, output = self.batched.differentiable, self.batched.output
        self.y = free_letter(layer, letters) if letters else result_letter(layer)
        self.x_dot = {v: variable(f"{v.name}_dot", v.space) for v in x}
        self.y_bar = variable(f"{self.y}_bar", output.space)
        self.y_bar_dot = variable(f"{self.y}_bar_dot", output.space)
        self.dots = tangents([output], self.x_dot)
        self.y_dot = self.dots[output]
        directions = tuple(self.x_dot.values())
        pulled, summed = cotangents(self.y_dot, riesz(self.y_bar), directions)
        self.x_bar = {v: riesz(pulled[self.x_dot[v]], inverse=True) for v in x}
        along = {**self.x_dot, self.y_bar: self.y_bar_dot}
        self.second = tangents(list(self.x_bar.values()), along)
        self.names = self._names(summed)
        self._normalise()
        self.saves = saved_border(list(self.x_bar.values()), self.y_bar)

    def _normalise(self) -> None:
        """Expressions that are equal become one in all programs, so that they are computed once."""
        adjoints = list(self.x_bar.values())
        moved = [self.second[node] for node in adjoints]
        new = normal(self.batched.output, self.y_dot, *adjoints, *moved, *self.names)
        self.output, self.y_dot = new[self.batched.output], new[self.y_dot]
        self.second = {new[node]: new[self.second[node]] for node in adjoints}
        self.x_bar = {v: new[node] for v, node in self.x_bar.items()}
        names: dict[Node, str] = {}
        for node, name in self.names.items():
            names.setdefault(new[node], name)
        self.names = names

    def _names(self, summed: Mapping[Node, Node]) -> dict[Node, str]:
        """z for a local, z_dot for its tangent, z_bar for its cotangent, z_bar_dot after that."""
        reserved = {f"{x.name}{mark}" for x in self.x_dot for mark in ("_dot", "_bar", "_bar_dot")}
        own = self.layer.words
        names = {node: unused(name, reserved) for node, name in self.batched.names.items()}
        names.setdefault(self.batched.output, self.y)
        for node, name in list(names.items()):
            moved = self.dots.get(node)
            if moved is not None and moved not in names and not is_zero(moved):
                names[moved] = unused(f"{name}_dot", own)
                if moved in summed and node is not self.batched.output:
                    names.setdefault(summed[moved], unused(f"{name}_bar", own))
        for node, name in list(names.items()):
            moved = self.second.get(node)
            if moved is not None and not is_zero(moved):
                names.setdefault(moved, unused(f"{name}_dot", own))
        return names

    def programs(self) -> Iterable[Program]:
        """The programs."""
        y, primal = self.y, self.batched.arguments
        dots = tuple(Argument(v_dot, TANGENT) for v_dot in self.x_dot.values())
        y_bar = (Argument(self.y_bar, COTANGENT),)
        y_bar_dot = (Argument(self.y_bar_dot, COTANGENT),)
        yield self.value("forward", self.saves)
        yield self._program(
            "tangent",
            [f"{y}_dot = {self._total_derivative()}"],
            (*primal, *dots),
            [Result(f"{y}_dot", self.y_dot)],
        )
        yield self._program(
            "backward",
            [f"{v.name}_bar += {self._adjoint(v)} . {y}_bar" for v in self.x_bar],
            (*primal, *y_bar),
            [Result(f"{v.name}_bar", e, self._is_batched(v)) for v, e in self.x_bar.items()],
            saved=self.saves,
            reads=True,
            accumulate=True,
        )
        along = ", ".join(direction.name for direction in (*dots, *y_bar_dot))
        yield self._program(
            "tangent_backward",
            [f"the derivative of backward along ({along})"],
            (*primal, *y_bar, *dots, *y_bar_dot),
            [
                Result(f"{v.name}_bar_dot", self.second[e], self._is_batched(v))
                for v, e in self.x_bar.items()
            ],
            accumulate=True,
        )
        if self.batched.output.space == R(BATCH):
            yield self.gradient()

    def gradient(self) -> Program:
        """The mean of a scalar layer over the batch and its gradient, in one call.

        An empty batch has mean and gradient zero.
        """
        mean = linear_combination([(1 / sympy.Max(1, BATCH), total_sum(self.batched.output))])
        moved = tangents([mean], self.x_dot)[mean]
        directions = tuple(self.x_dot.values())
        pulled, summed = cotangents(moved, constant(sympy.S.One, R()), directions)
        given = self.batched.names.items()  # also where a number was moved to the front
        named = {self.dots[node]: name for node, name in given if node in self.dots}
        bars = {
            summed[m]: unused(f"{name}_bar", self.layer.words)
            for m, name in named.items()
            if m in summed
        }
        name = free_letter(self.layer, ("J", "loss", "mean"))
        gradient = ", ".join(f"{v.name}_bar" for v in self.x_dot)
        results = [Result(name, mean, batched=False)]
        for v, v_dot in self.x_dot.items():
            bar = riesz(pulled[v_dot], inverse=True)
            results.append(Result(f"{v.name}_bar", bar, self._is_batched(v)))
        law = [
            f"{name} += the mean over the batch of {self.layer.signature}",
            f"{gradient} += its gradient",
        ]
        names = {**bars, **self.batched.names}
        arguments = self.batched.arguments
        return self._program("gradient", law, arguments, results, accumulate=True, names=names)

    def value(self, name: str, saves: tuple[Node, ...] = ()) -> Program:
        """f(x; theta), and what backward needs."""
        result = Result(self.y, self.output)
        law = [f"{self.y} = {self.layer.signature}"]
        return self._program(name, law, self.batched.arguments, [result], saved=saves)

    def _program(
        self,
        name: str,
        law: list[str],
        arguments: tuple[Argument, ...],
        results: list[Result],
        saved: tuple[Node, ...] = (),
        reads: bool = False,
        accumulate: bool = False,
        names: Mapping[Node, str] | None = None,
    ) -> Program:
        grams = _gram_matrices([r.node for r in results], arguments)
        return Program(
            self.layer,
            name,
            tuple(law),
            (*arguments, *grams),
            tuple(results),
            accumulate,
            saved,
            reads,
            self.names if names is None else names,
        )

    def _is_batched(self, x: Variable) -> bool:
        return x not in self.batched.parameters

    def _symbol(self, x: Variable) -> str:
        return "D" if self._is_batched(x) else "nabla"

    def _adjoint(self, x: Variable) -> str:
        return f"{self._symbol(x)}*_{x.name} {self.layer.name}"

    def _total_derivative(self) -> str:
        name = self.layer.name
        return " + ".join(f"{self._symbol(x)}_{x.name} {name} . {x.name}_dot" for x in self.x_dot)


def _gram_matrices(results: list[Node], arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
    """The Gram matrices, or their inverses, that a kernel is given behind its arguments."""
    known = {argument.variable for argument in arguments}
    free = (x for x in topological(*results) if isinstance(x, Variable) and x not in known)
    return tuple(Argument(x, GIVEN) for x in sorted(free, key=lambda x: x.name))


def result_letter(layer: Layer) -> str:
    """What a layer's output is called in kernels and derivations: y where that is free."""
    scalar = layer.output.space == R()
    return free_letter(layer, ("y", "J", "f", "value") if scalar else ("y", "f", "value"))


def _locals(layer: Layer) -> set[str]:
    """What the user calls parts of the formula that are not what is returned."""
    returned = set(storage(layer.output)) | {layer.output}
    return {name for node, name in layer.names.items() if node not in returned}


def free_letter(layer: Layer, letters: tuple[str, ...]) -> str:
    """The first of some letters that no argument and no size has, else the first with a number."""
    taken = {a.name for a in layer.arguments} | {str(size) for size in layer.sizes}
    taken |= _locals(layer)
    numbered = (f"{letters[0]}{number}" for number in count(2))
    return next(letter for letter in chain(letters, numbered) if letter not in taken)
