"""A formula with a name, f(x; theta): its arguments by role, its sizes, its names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import sympy

from ..language.expressions import Node, Variable
from ..language.form_names import FormNames, names_of
from ..language.hooks import Shown
from ..language.places import SourceLine
from ..language.roles import FIXED, PARAMETER, STATE, THETA, Argument
from ..language.spaces import SpaceError
from ..language.walk import topological
from .validity import check_names, check_operations, check_output, extents_of, sizes_written


@dataclass(frozen=True, eq=False, repr=False)
class Formula(Shown):
    """f(x; theta): its arguments in order, its output, and what its locals are called.

    `place` is the line where the decorator declared it, None for any other one;
    `form_names` has what its forms are called: each form carries the word that it was written by,
    and what is given here is for those that carry none.

    Raises SpaceError or ValueError, naming it, where a name can't be emitted, two things share a
    name, class indices would be differentiated, or the output has variables that are not declared.
    """

    name: str
    arguments: tuple[Argument, ...]
    output: Node
    names: Mapping[Node, str] = field(default_factory=dict)
    doc: str = ""
    place: SourceLine | None = field(default=None, kw_only=True)
    form_names: FormNames = field(default=FormNames(), kw_only=True, repr=False)

    def __post_init__(self) -> None:
        names = names_of(self.output, given=self.form_names)
        object.__setattr__(self, "form_names", names)
        check_names(self.name, self.arguments, self.sizes, self.output)
        check_output(self.name, self.arguments, self.output)
        check_operations(self.name, self.sizes, self.output)

    def __str__(self) -> str:
        return f"{self.signature} in {self.output.space}"

    __repr__ = __str__

    def of_role(self, *roles: str) -> tuple[Variable, ...]:
        """The variables with one of these roles, in order."""
        return tuple(a.variable for a in self.arguments if a.role in roles)

    @property
    def state(self) -> tuple[Variable, ...]:
        """The states and inputs."""
        return self.of_role(STATE)

    @property
    def parameters(self) -> tuple[Variable, ...]:
        """The parameters."""
        return self.of_role(PARAMETER)

    @property
    def fixed(self) -> tuple[Variable, ...]:
        """What all points of a batch share and no derivative is taken by."""
        return self.of_role(FIXED)

    @property
    def theta(self) -> tuple[Variable, ...]:
        """All that stands right of the semicolon: parameters and what is fixed, as declared."""
        return self.of_role(*THETA)

    @property
    def differentiable(self) -> tuple[Variable, ...]:
        """States and parameters, in the order of the declaration."""
        return self.of_role(STATE, PARAMETER)

    @cached_property
    def sizes(self) -> tuple[sympy.Symbol, ...]:
        """The sizes of the arguments, of the output and within, in order of first appearance.

        Sizes that only a coefficient or an access has come last: no array shows them.
        """
        spaces = [*(a.variable.space for a in self.arguments), self.output.space]
        nodes = topological(self.output)
        inner = (node.space for node in nodes)
        extents = (e for space in (*spaces, *inner) for e in extents_of(space))
        found: dict[sympy.Symbol, None] = {}
        for sizes in (*(e.free_symbols for e in extents), *map(sizes_written, nodes)):
            found.update(dict.fromkeys(sorted(sizes, key=str)))
        return tuple(found)

    def fits(self, sizes: Mapping[sympy.Symbol, int]) -> bool:
        """Every extent in the layer is at least 1 at these sizes."""
        return all(extent.xreplace(sizes) >= 1 for extent in self.derived_extents)

    @cached_property
    def derived_extents(self) -> tuple[sympy.Expr, ...]:
        """The extents of arrays within that are neither a size nor a number."""
        spaces = (node.space for node in topological(self.output))
        found = dict.fromkeys(extent for space in spaces for extent in extents_of(space))
        return tuple(extent for extent in found if not extent.is_Atom)

    @property
    def words(self) -> frozenset[str]:
        """The names of arguments, sizes and locals: generated names avoid these."""
        own = (*(a.name for a in self.arguments), *map(str, self.sizes), *self.names.values())
        return frozenset(own)

    @property
    def signature(self) -> str:
        """f(x; W, b), as in the text."""
        left = ", ".join(a.name for a in self.arguments if a.role not in THETA)
        right = ", ".join(x.name for x in self.theta)
        return f"{self.name}({left}; {right})" if right else f"{self.name}({left})"

    def argument(self, name: str) -> Variable:
        """The state or parameter of that name.  Raises SpaceError where there is none."""
        for variable_ in self.differentiable:
            if variable_.name == name:
                return variable_
        known = ", ".join(v.name for v in self.differentiable) or "none"
        raise SpaceError(f"{self.signature} has no argument {name!r} to derive by; it has {known}")
