"""Layers made of layers have their parameters in a tree: {"hidden": {"W": .., "b": ..}, ..}."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy

from ..language.mistakes import called
from .initialise import checked_count, checked_generator, drawn, of_kernels
from .layers import Layer
from .resize import sizes_of
from .stages import Path


@dataclass(frozen=True, eq=False, repr=False)
class Composed(Layer):
    """A layer made of layers: its parameters, and what is fixed, hang in a tree."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where each array of theta hangs in the tree: parameters and what is fixed, in order."""
        raise NotImplementedError

    def tree(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """The tree {"hidden": {"W": .., "b": ..}, ..} of values by argument name.

        They are those of all of theta, or of the parameters alone, as a gradient's are.  Raises
        ValueError where one is missing or a name is unknown.
        """
        names = [x.name for x in self.theta]
        if not isinstance(flat, Mapping):
            raise ValueError(f"network {self.name}: expected values of {names}, got {flat!r}")
        if set(flat) not in (set(names), {p.name for p in self.parameters}):
            raise ValueError(f"network {self.name}: expected values of {names}, got {list(flat)}")
        tree: dict[str, Any] = {}
        for name, path in zip(names, self.paths, strict=True):
            if name in flat:
                branch = tree
                for key in path[:-1]:
                    branch = branch.setdefault(key, {})
                branch[path[-1]] = flat[name]
        return tree

    def flat(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a tree by argument name: the inverse of `tree`.

        Raises ValueError where the tree has another structure.
        """
        flat = dict(_branches(tree, set(self.paths)))
        if set(flat) != set(self.paths):
            raise ValueError(
                f"network {self.name}: expected a tree with {[*map('.'.join, self.paths)]}, "
                f"got {[*map('.'.join, flat)]}"
            )
        return {x.name: flat[path] for x, path in zip(self.theta, self.paths, strict=True)}

    def trained(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a tree that training changes, its very arrays: without what is fixed."""
        still = {x.name for x in self.fixed}
        return self.tree({name: v for name, v in self.flat(tree).items() if name not in still})

    @called
    def initial(
        self,
        rng: np.random.Generator,
        sizes: Mapping[sympy.Symbol | str, int],
        dtype: Any = np.float64,
    ) -> dict[str, Any]:
        """A tree of parameters to start from: Glorot's uniform maps, zero biases, gains of one.

        What is fixed is drawn by the same rules, as a parameter in its place would be, for the user
        to replace; class indices are 0.  See `initialise`; a seeded `rng` gives the same tree on
        every run.  `sizes` are by symbol or name.  Raises SpaceError where one is missing or below
        1.
        """
        where = f"network {self.name}: initial"
        numbers = {
            symbol: checked_count(f"{where}: size {symbol}", count)
            for symbol, count in sizes_of(self, sizes).items()
        }
        return self.tree(
            self._drawn(checked_generator(where, rng), numbers, of_kernels(where, dtype))
        )

    def _drawn(
        self, rng: np.random.Generator, sizes: Mapping[sympy.Symbol, int], dtype: np.dtype[Any]
    ) -> dict[str, Any]:
        return drawn(self.theta, self.output, rng, sizes, dtype)


# --- trees


def _branches(tree: Any, ends: Set[Path], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The values at the paths, and at every other end of the tree."""
    if isinstance(tree, Mapping) and path not in ends:
        for key, branch in tree.items():
            yield from _branches(branch, ends, (*path, str(key)))
    else:
        yield path, tree
