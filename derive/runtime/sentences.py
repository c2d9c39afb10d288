"""What a refusal says about shapes and sizes: what came, what was expected, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from derive.runtime.declare import Derived, Extent, Leaf


def _row(values: Iterable[object]) -> str:
    entries = [str(value) for value in values]
    return f"({entries[0]},)" if len(entries) == 1 else f"({', '.join(entries)})"


def extent_name(extent: Extent) -> str:
    """A size's name, a number, or the name of the function that derives the extent."""
    if isinstance(extent, Derived):
        return extent.formula
    return getattr(extent, "__name__", "derived") if callable(extent) else str(extent)


def origins(
    leaves: Iterable[Leaf],
    shapes: Iterable[tuple[int, ...]],
    keywords: Mapping[str, int],
    batched: bool,
) -> dict[str, str]:
    """For each size, "n = 4 came from W": what the first array (or keyword) showing it says."""
    known = {name: f"{name} = {value} came from the keyword" for name, value in keywords.items()}
    for leaf, shape in zip(leaves, shapes, strict=False):
        for extent, found in zip(leaf.shown(batched), shape, strict=False):
            if isinstance(extent, str):
                known.setdefault(extent, f"{extent} = {found} came from {leaf.name}")
    return known


def shape_sentence(
    leaf: Leaf,
    found: tuple[int, ...],
    expected: tuple[int, ...],
    batched: bool,
    known: Mapping[str, str],
) -> str:
    """W has shape (4, 5), expected (n, m) = (4, 3), where n = 4 came from W and m = 3 from x."""
    extents = leaf.shown(batched)
    reasons = [known[e] for e in dict.fromkeys(extents) if isinstance(e, str) and e in known]
    where = f", where {' and '.join(reasons)}" if reasons else ""
    names = _row(map(extent_name, extents))
    return f"{leaf.name} has shape {_row(found)}, expected {names} = {_row(expected)}{where}"


def axes_sentence(leaf: Leaf, found: tuple[int, ...]) -> str:
    names = _row(map(extent_name, leaf.extents))
    without = "" if leaf.batch < 0 else " (or one axis less, without batch)"
    return (
        f"{leaf.name} has shape {_row(found)}, {len(found)} axes, "
        f"expected {len(leaf.extents)}: {names}{without}"
    )


def batch_sentence(leaves: Sequence[Leaf], shapes: Sequence[tuple[int, ...]]) -> str:
    """Some arguments have the batch axis and some have not: which."""
    pairs = [(leaf, len(shape)) for leaf, shape in zip(leaves, shapes, strict=False)]
    batched = [(leaf.name, axes == len(leaf.extents)) for leaf, axes in pairs if leaf.batch >= 0]
    has, lacks = ([n for n, has in batched if has is want] for want in (True, False))
    shown = (
        f"{leaf.name} of shape {_row(shape)} would be {_row(map(extent_name, leaf.extents))}"
        for leaf, shape in zip(leaves, shapes, strict=False)
        if leaf.name in lacks
    )
    return (
        f"{', '.join(has)} with and {', '.join(lacks)} without the batch axis; "
        f"give it to all of them or to none (with it {next(shown)})"
    )
