"""What a kernel declares: its arguments and results, and the extents of their arrays.

A leaf is one array: its name, and one extent per axis. An extent is the name of a size, a number,
or a function of all sizes in their order. An argument is a leaf, or a direct product of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from inspect import Parameter, Signature

Extent = str | int | Callable[..., int]

BATCH = "batch"
MAY_BE_ZERO = (BATCH, "steps")  # sizes of families, of samples and of times
KINDS = ("real", "index", "mask")
ROLES = ("state", "parameter", "given", "fixed", "tangent", "cotangent", "result")
UNBATCHED = ("parameter", "fixed")  # the same for every point of a batch
DIRECTIONS = ("tangent", "cotangent")
MODES = ("overwrite", "accumulate")
SAVED_ROLES = (None, "written", "read")
COTANGENTS = ("cotangent", "cotangent_dot")  # as y_bar, y_bar_dot may be called in any layer
RESERVED = ("out", "saved", "workspace", "sizes")


@dataclass(frozen=True)
class Derived:
    """An extent that is a formula in the sizes: what it says, and how it is computed."""

    formula: str
    value: Callable[..., int]

    def __call__(self, *sizes: int) -> int:
        return self.value(*sizes)


@dataclass(frozen=True)
class Leaf:
    """One array. kind "index": integers with 0 <= v < bound; "mask": numbers 0 or 1, or bool."""

    name: str
    extents: tuple[Extent, ...]
    kind: str = "real"
    bound: Extent | None = None

    @property
    def batch(self) -> int:
        """The axis of the batch, -1 where there is none."""
        return self.extents.index(BATCH) if BATCH in self.extents else -1

    def shown(self, batched: bool) -> tuple[Extent, ...]:
        """The extents an array has at the edge, with or without the batch axis."""
        return tuple(e for e in self.extents if batched or e != BATCH)


@dataclass(frozen=True)
class Argument:
    """An argument or a result: one leaf, or several for a direct product (a tuple of arrays)."""

    name: str
    role: str
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True)
class Declaration:
    """Everything about a kernel that is not code; checked when it is made."""

    name: str
    sizes: tuple[str, ...]
    arguments: tuple[Argument, ...]
    results: tuple[Argument, ...]
    mode: str
    saved_role: str | None

    def __post_init__(self) -> None:
        for what, value, allowed in (
            ("mode", self.mode, MODES),
            ("saved_role", self.saved_role, SAVED_ROLES),
            *(("role", a.role, ROLES) for a in self.arguments + self.results),
            *(("kind", leaf.kind, KINDS) for leaf in self.leaves()),
            *(
                ("kind of a result", leaf.kind, ("real",))
                for r in self.results
                for leaf in r.leaves
            ),
        ):
            self._require(value in allowed, f"{what} is {value!r}, must be one of {allowed}")
        self._require_distinct([a.name for a in self.arguments] + [*self.sizes, *RESERVED])
        self._require_distinct([r.name for r in self.results])
        for leaf in self.leaves():
            self._check_leaf(leaf)
        for argument in self.arguments:
            batched = any(leaf.batch >= 0 for leaf in argument.leaves)
            self._require(
                not (batched and argument.role in UNBATCHED),
                f"{argument.role} {argument.name} has a batch axis",
            )

    def leaves(self) -> Iterator[Leaf]:
        return (leaf for a in self.arguments + self.results for leaf in a.leaves)

    @property
    def asked(self) -> tuple[str, ...]:
        """The sizes that no argument shows, so that a call gives them by keyword."""
        shown = {e for a in self.arguments for leaf in a.leaves for e in leaf.extents}
        return tuple(name for name in self.sizes if name not in shown)

    @property
    def required(self) -> tuple[str, ...]:
        """The sizes that a call has to give: all but that of the batch.

        Without it the call is for one point, and the results have no axis of the batch.
        """
        return tuple(name for name in self.asked if name != BATCH)

    def signature(self) -> Signature:
        only = Parameter.KEYWORD_ONLY
        return Signature(
            [
                *(Parameter(a.name, Parameter.POSITIONAL_OR_KEYWORD) for a in self.arguments),
                *(Parameter(name, only, default=None) for name in RESERVED[:3]),
                *(Parameter(name, only) for name in self.required),
                *(Parameter(name, only, default=None) for name in self.asked if name == BATCH),
                Parameter("sizes", Parameter.VAR_KEYWORD),
            ]
        )

    def ordered(
        self, given: tuple[object, ...], named: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments in their order, and what remains of the keywords: sizes."""
        names = [a.name for a in self.arguments]
        named = self._by_own_names(named)
        if len(given) > len(names):
            raise TypeError(f"{self.name}: {len(given)} arguments, takes {', '.join(names)}")
        for name in named:
            if name in names[: len(given)]:
                raise TypeError(f"{self.name}: {name} is given twice")
            if name not in names and name not in self.sizes:
                raise TypeError(f"{self.name}: no argument or size is called {name!r}")
        if missing := [name for name in names[len(given) :] if name not in named]:
            raise TypeError(f"{self.name}: {', '.join(missing)} missing")
        rest = {name: value for name, value in named.items() if name not in names}
        return given + tuple(named[name] for name in names[len(given) :]), rest

    def _by_own_names(self, named: dict[str, object]) -> dict[str, object]:
        """The keywords with the cotangents under their own names, whichever they were given by."""
        own = self._cotangents()
        if double := [name for name in named if own.get(name) in named]:
            raise TypeError(f"{self.name}: {own[double[0]]} is given twice")
        return {own.get(name, name): value for name, value in named.items()}

    def _cotangents(self) -> dict[str, str]:
        """The cotangent of the output, and its tangent, by names that every layer has."""
        taken = {a.name for a in self.arguments} | set(self.sizes)
        own = (a.name for a in self.arguments if a.role == "cotangent")
        return {
            name: found for name, found in zip(COTANGENTS, own, strict=False) if name not in taken
        }

    def values(self, given: Sequence[object]) -> tuple[object, ...]:
        """One value for each array of the arguments, which are in their order."""
        pairs = zip(self.arguments, given, strict=True)
        return tuple(part for argument, value in pairs for part in self.parts(argument, value))

    def parts(self, argument: Argument, value: object) -> tuple[object, ...]:
        """The arrays of one argument, from a tuple, nested or flat, where there are several."""
        count = len(argument.leaves)
        whole = count == 1 or value is None
        found = (value,) * count if whole else tuple(_flat(value))
        if len(found) != count:
            names = ", ".join(leaf.name for leaf in argument.leaves)
            raise TypeError(
                f"{self.name}: {argument.name} must be a tuple of {count} arrays ({names}), "
                f"found {len(found) if isinstance(value, tuple) else type(value).__name__}"
            )
        return found

    def base_of(self, position: int) -> int:
        """The array, counted over the arguments, that the one in this position is a direction of.

        x for x_dot, y_bar for y_bar_dot: a direction that is None is zero.  -1 for any other.
        """
        starts, count = dict[str, int](), 0
        for argument in self.arguments:
            starts[argument.name] = count
            count += len(argument.leaves)
            if position < count:
                base = argument.name.removesuffix("_dot")
                moved = argument.role in DIRECTIONS and base != argument.name and base in starts
                return starts[base] + position - starts[argument.name] if moved else -1
        return -1

    def outputs(self, out: object) -> list[object]:
        """One array or None for each leaf of the results, from an array, a tuple or a dict."""
        found: list[object] = []
        for result, value in zip(self.results, self._by_result(out), strict=True):
            whole = value is None and len(result.leaves) > 1
            found += [None] * len(result.leaves) if whole else self.parts(result, value)
        return found

    def _by_result(self, out: object) -> Sequence[object]:
        names = [r.name for r in self.results]
        if isinstance(out, dict):
            if unknown := [str(name) for name in out if name not in names]:
                raise TypeError(
                    f"{self.name}: out has {', '.join(unknown)}, results are {', '.join(names)}"
                )
            return [out.get(name) for name in names]
        if len(names) == 1:
            lone = isinstance(out, tuple) and len(out) == 1
            return out if lone else (out,)  # type: ignore[return-value]
        if not isinstance(out, tuple) or len(out) != len(names):
            raise TypeError(
                f"{self.name}: out must be a tuple or dict of {len(names)} results "
                f"({', '.join(names)}), found "
                f"{len(out) if isinstance(out, tuple) else type(out).__name__}"
            )
        return out

    def gathered(self, arrays: Sequence[object]) -> object:
        """The results as they are returned: one, or a tuple; a direct product is a tuple."""
        left = iter(arrays)
        values = [tuple(next(left) for _ in result.leaves) for result in self.results]
        plain = tuple(value[0] if len(value) == 1 else value for value in values)
        return plain[0] if len(plain) == 1 else plain

    def _check_leaf(self, leaf: Leaf) -> None:
        for extent in (*leaf.extents, leaf.bound):
            plain = extent is None or callable(extent) or extent in self.sizes
            number = isinstance(extent, int) and not isinstance(extent, bool) and extent >= 1
            self._require(
                plain or number, f"{leaf.name} has extent {extent!r}, not among the sizes"
            )
        self._require(
            (leaf.kind == "index") == (leaf.bound is not None),
            f"{leaf.name}: a bound belongs to kind 'index', and only there",
        )

    def _require_distinct(self, names: Sequence[str]) -> None:
        double = sorted({name for name in names if names.count(name) > 1})
        self._require(not double, f"names used twice or reserved: {', '.join(double)}")

    def _require(self, holds: bool, sentence: str) -> None:
        if not holds:
            raise ValueError(f"{self.name}: {sentence}")


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, tuple):
        for part in value:
            yield from _flat(part)
    else:
        yield value
