"""Trees of parameters: the point theta of a direct product H_1 x ... x H_L of parameter spaces.

A tree is a NumPy array, a dict of trees with string keys, or a tuple of trees (a direct product).
The qualified name of a leaf is the path of its keys, and of its indices in tuples, joined by "."::

    {"first": {"W": W, "b": b}, "pair": (u, v)}    # first.W, first.b, pair.0, pair.1
    {"first.W": W, "first.b": b}                   # the flat form: first.W, first.b
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Tree: TypeAlias = "Array | Mapping[str, Tree] | tuple[Tree, ...]"


def leaves(tree: Tree) -> list[tuple[str, Array]]:
    """The pairs (qualified name, array) of ``tree``, in declaration order; arrays are not copied.

    A bare array is a tree with one leaf, of name "". Raises TypeError for a node that is no
    array, dict or tuple, ValueError for an unusable key or a name that occurs twice.

    >>> [name for name, _ in leaves({"first": {"W": np.ones((3, 4))}, "pair": (np.ones(5),)})]
    ['first.W', 'pair.0']
    """
    found: dict[str, Array] = {}
    for name, array in _walk(tree, ""):
        if name in found:
            raise ValueError(
                f"the parameter name {name!r} occurs twice in one tree, "
                "as a path of keys and as a key with dots; rename one of them"
            )
        found[name] = array
    return list(found.items())


def map_tree(f: Callable[..., Any], *trees: Tree) -> Any:
    """The tree of f(a_1, ..., a_n), a_k the leaf of the k-th tree at the same qualified name.

    The result has the structure and the order of the first tree; a NumPy scalar, which is what
    arithmetic makes of a 0-dimensional leaf, becomes an array again there. Raises ValueError,
    before ``f`` is called, when a tree has another structure than the first; the order of keys
    is free.

    >>> map_tree(np.add, {"b": np.ones(3)}, {"b": np.ones(3)})
    {'b': array([2., 2., 2.])}
    """
    if not trees:
        raise TypeError("map_tree expects at least one tree after the function; got none")
    values = {name: _array_again(f(*row), row[0]) for name, *row in align(*trees)}
    return rebuilt(skeleton(trees[0]), "", values.__getitem__)


def pruned(tree: Tree, keep: Callable[[str], bool]) -> Any:
    """The tree of the leaves whose qualified names are kept, without branches left empty.

    The arrays are those of ``tree``; a tuple, one element of a direct product, is kept or left
    out as a whole.

    >>> pruned({"a": {"W": np.ones(2)}, "b": np.zeros(1)}, lambda name: name != "a.W")
    {'b': array([0.])}
    """
    return _pruned(tree, "", keep)


def _pruned(tree: Tree, path: str, keep: Callable[[str], bool]) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    parts = ((key, _join(path, key), child) for key, child in _children(tree, path))
    return {
        key: _pruned(child, name, keep)
        for key, name, child in parts
        if any(keep(leaf) for leaf, _ in _walk(child, name))
    }


def align(*trees: Tree, roles: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    """The rows (name, a_1, ..., a_n) of the leaves of trees of one structure.

    ``roles`` says what to call each tree in an error. Raises ValueError naming what is missing.
    """
    roles = roles or tuple(f"tree {k}" for k in range(1, len(trees) + 1))
    columns = [dict(leaves(tree)) for tree in trees]
    for k in range(1, len(trees)):
        _check_names(columns[0], columns[k], roles[0], roles[k])
        if skeleton(trees[k]) != skeleton(trees[0]):
            raise ValueError(
                f"{roles[k]} has the same names as {roles[0]} but nests them differently: expected "
                f"{skeleton(trees[0])}, got {skeleton(trees[k])}; nest both alike"
            )
    return [(name, *(column[name] for column in columns)) for name in columns[0]]


def overlaps(arrays: list[Array]) -> Iterator[tuple[int, int]]:
    """The pairs of indices of the arrays that share memory, found by a sweep over addresses."""
    spans = sorted((*byte_bounds(a), k) for k, a in enumerate(arrays) if a.size)
    reached: list[tuple[int, int]] = []
    for low, high, k in spans:
        reached = [(end, j) for end, j in reached if end > low]
        yield from ((j, k) for _, j in reached if np.shares_memory(arrays[j], arrays[k]))
        reached.append((high, k))


def flatten(tree: Tree) -> tuple[Array, Callable[[Array], Any]]:
    """The vector of all entries, and the inverse: ``unflatten(vector)`` is an equal tree.

    The leaves come in declaration order, each in C order; the vector, shape (n,), is a copy, and
    has the widest dtype of the leaves (float64 for none). ``unflatten`` takes a real vector of
    shape (n,) and returns copies of the shapes and dtypes of ``tree``. Raises TypeError for a
    leaf that is not of a floating dtype, ValueError for a vector of another shape.

    >>> vector, unflatten = flatten({"W": np.eye(2), "b": np.zeros(1)})
    >>> vector
    array([1., 0., 0., 1., 0.])
    >>> unflatten(2 * vector)["W"]
    array([[2., 0.],
           [0., 2.]])
    """
    named = leaves(tree)
    _check_floating(named)
    nesting = skeleton(tree)
    like = {name: (array.shape, array.dtype) for name, array in named}
    ends = np.cumsum([array.size for _, array in named], dtype=np.intp)
    size = int(ends[-1]) if named else 0
    dtype = np.result_type(*(array.dtype for _, array in named)) if named else np.dtype(np.float64)

    def unflatten(vector: Array) -> Any:
        if vector.shape != (size,) or vector.dtype.kind != "f":
            raise ValueError(
                f"unflatten expects a real vector of shape ({size},), "
                f"got {vector.dtype} of shape {vector.shape}"
            )
        parts = dict(zip(like, np.split(vector, ends[:-1]), strict=True)) if like else {}

        def leaf(name: str) -> Array:
            shape, kept = like[name]
            return parts[name].astype(kept).reshape(shape)

        return rebuilt(nesting, "", leaf)

    return np.concatenate([np.zeros(0, dtype), *(a.ravel() for _, a in named)]), unflatten


def _check_floating(named: list[tuple[str, Array]]) -> None:
    for name, array in named:
        if array.dtype.kind != "f":
            raise TypeError(
                f"parameter {name!r}: flatten expects a floating dtype, got {array.dtype}"
            )


def _walk(tree: Tree, path: str) -> Iterator[tuple[str, Array]]:
    if isinstance(tree, np.ndarray) and not isinstance(tree, np.ma.MaskedArray):
        yield path, tree
        return
    for key, child in _children(tree, path):
        yield from _walk(child, _join(path, key))


def _children(tree: Tree, path: str) -> list[tuple[str, Tree]]:
    if isinstance(tree, tuple):
        return [(str(index), child) for index, child in enumerate(tree)]
    if isinstance(tree, Mapping):
        for key in tree:
            _check_key(key, path)
        return list(tree.items())
    raise TypeError(
        f"parameter {path!r}: expected a NumPy array, a dict or a tuple, "
        f"got {type(tree).__name__}; convert numbers and lists with np.asarray"
    )


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _array_again(value: Any, like: Array) -> Any:
    return np.asarray(value) if like.shape == () and isinstance(value, np.generic) else value


def _check_key(key: object, path: str) -> None:
    # Entries of a zip file end at a NUL, and a backslash in them is a separator on some systems.
    if not (isinstance(key, str) and key and key.isprintable() and "\\" not in key):
        raise ValueError(
            f"key {key!r} under {path!r}: expected a non-empty printable string without backslash"
        )


def _check_names(wanted: dict[str, Array], found: dict[str, Array], role: str, other: str) -> None:
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    if missing or extra:
        faults = [f"is missing {missing}"] * bool(missing) + [f"has the extra {extra}"] * bool(
            extra
        )
        raise ValueError(
            f"{other} {' and '.join(faults)}: expected the names of {role}, {list(wanted)}"
        )


def skeleton(tree: Any) -> Any:
    """Only the nesting, as in JSON: an object for a dict, a list for a tuple, null for a leaf."""
    if isinstance(tree, np.ndarray):
        return None
    if isinstance(tree, tuple):
        return [skeleton(child) for child in tree]
    return {key: skeleton(child) for key, child in tree.items()}


def rebuilt(nesting: Any, path: str, leaf: Callable[[str], Any]) -> Any:
    """The tree of the nesting ``nesting`` whose leaf of name n is ``leaf(n)``."""
    if nesting is None:
        return leaf(path)
    if isinstance(nesting, list):
        return tuple(
            rebuilt(child, _join(path, str(index)), leaf) for index, child in enumerate(nesting)
        )
    return {key: rebuilt(child, _join(path, key), leaf) for key, child in nesting.items()}
