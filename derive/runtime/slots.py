"""The arrays that a kernel is handed, in their order, whether it is compiled or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from derive.runtime.declare import Declaration, Leaf

Count = Callable[..., int]


@dataclass(frozen=True)
class Slots:
    """The leaves of the arguments, of the results, then `saved` where there is one, `workspace`.

    A slot is the place of an array in that order.  `saved_of` and `workspace_of` are functions of
    all sizes that say how many elements those two have, None where they have none.  The extents
    `within` the layer belong to no array of the call and are at least 1, too.
    Raises ValueError where a kernel that saves doesn't say whether it writes or reads.
    """

    declaration: Declaration
    saved_of: Count | None = None
    workspace_of: Count | None = None
    within: tuple[Count, ...] = ()

    def __post_init__(self) -> None:
        if (self.declaration.saved_role is None) != (self.saved_of is None):
            raise self.refused("saved and saved_role belong together")

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """One for each slot."""
        saved = () if self.saved_of is None else (Leaf("saved", (self.saved_of,)),)
        workspace = Leaf("workspace", (self.workspace_of or nothing,))
        return (*self.declaration.leaves(), *saved, workspace)

    @cached_property
    def inputs(self) -> int:
        """Where the slots of the arguments end."""
        return sum(len(argument.leaves) for argument in self.declaration.arguments)

    @cached_property
    def outputs(self) -> int:
        """Where the slots of the results end."""
        return len(list(self.declaration.leaves()))

    @property
    def saved(self) -> int:
        """The slot of `saved`, -1 where there is none."""
        return -1 if self.saved_of is None else self.outputs

    @property
    def workspace(self) -> int:
        """The slot of `workspace`, the last one."""
        return len(self.leaves) - 1

    @cached_property
    def first_real(self) -> int:
        """The argument that gives the call its dtype, -1 where none holds real numbers."""
        found = (k for k, leaf in enumerate(self.leaves[: self.inputs]) if leaf.kind == "real")
        return next(found, -1)

    @property
    def accumulates(self) -> bool:
        """Whether results are added into what `out` holds."""
        return self.declaration.mode == "accumulate"

    @property
    def reads_saved(self) -> bool:
        """Whether `saved` is an input."""
        return self.declaration.saved_role == "read"

    def saved_size(self, sizes: Mapping[str, int]) -> int:
        """How many elements `saved` has.

        Raises TypeError unless all sizes are given, ValueError where one is negative.
        """
        return self._count("saved", self.saved_of, sizes)

    def workspace_size(self, sizes: Mapping[str, int]) -> int:
        """How many elements `workspace` needs; raises as `saved_size` does."""
        return self._count("workspace", self.workspace_of, sizes)

    def _count(self, what: str, function: Count | None, sizes: Mapping[str, int]) -> int:
        names = self.declaration.sizes
        if set(sizes) != set(names):
            found = ", ".join(sizes) or "none"
            text = f"{what}_size takes the sizes {', '.join(names)}, found {found}"
            raise self.refused(text, TypeError)
        if any(value < 0 for value in sizes.values()):
            raise self.refused(f"{what}_size: a size is negative in {sizes}")
        return 0 if function is None else int(function(*[sizes[name] for name in names]))

    def refused(self, text: str, kind: type[Exception] = ValueError) -> Exception:
        """The exception that says a text about this kernel."""
        return kind(f"{self.declaration.name}: {text}")

    def wrong(self, slot: int, text: str, kind: type[Exception] = ValueError) -> Exception:
        """The exception that says a text about one of its arrays."""
        return self.refused(f"{self.leaves[slot].name} {text}", kind)


def nothing(*sizes: int) -> int:
    """The workspace of a kernel that needs none."""
    return 0
