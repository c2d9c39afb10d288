"""Laws of trees of parameters: names, maps and the vector of entries."""

import numpy as np
import pytest

from derive.training.parameters import (
    align,
    flatten,
    leaves,
    map_tree,
    overlaps,
    pruned,
)


def nested(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return {
        "second": {
            "W": rng.normal(size=(3, 4)).astype(dtype),
            "b": rng.normal(size=3).astype(dtype),
        },
        "pair": (rng.normal(size=(4, 5)).astype(dtype), {"scale": np.array(2.5, dtype)}),
        "none": {},
        "file": rng.normal(size=(3, 4, 5)).astype(dtype),
    }


NAMES = ["second.W", "second.b", "pair.0", "pair.1.scale", "file"]


def assert_same(tree, other):
    """Equal nesting, order, shapes, dtypes and bits."""
    assert type(tree) is type(other)
    if isinstance(tree, np.ndarray):
        assert (tree.shape, tree.dtype) == (other.shape, other.dtype)
        assert tree.tobytes() == other.tobytes()
    elif isinstance(tree, tuple):
        assert len(tree) == len(other)
        for a, b in zip(tree, other, strict=True):
            assert_same(a, b)
    else:
        assert list(tree) == list(other)
        for key in tree:
            assert_same(tree[key], other[key])


def test_leaves_have_qualified_names_in_declaration_order_and_are_not_copied():
    tree = nested()
    assert [name for name, _ in leaves(tree)] == NAMES
    assert dict(leaves(tree))["pair.0"] is tree["pair"][0]


def test_leaves_of_a_flat_tree_and_of_a_bare_array():
    a = np.ones(3)
    assert [name for name, _ in leaves({"first.W": a, "first.b": a})] == ["first.W", "first.b"]
    assert [name for name, _ in leaves(a)] == [""]


def test_leaves_refuses_a_name_that_occurs_twice():
    with pytest.raises(ValueError, match=r"'a\.b' occurs twice"):
        leaves({"a": {"b": np.ones(3)}, "a.b": np.ones(3)})


@pytest.mark.parametrize("node", [1.0, [1.0, 2.0], None, np.ma.masked_array([1.0], [True])])
def test_leaves_refuses_a_node_that_is_no_tree(node):
    with pytest.raises(TypeError, match=r"'first\.0'.*NumPy array"):
        leaves({"first": (node,)})


@pytest.mark.parametrize("key", ["", 3, "a\0b", "a\nb", "a\\b", "\ud800"])
def test_leaves_refuses_an_unusable_key(key):
    with pytest.raises(ValueError, match="under 'first': expected a non-empty printable string"):
        leaves({"first": {key: np.ones(3)}})


def test_map_tree_is_leaf_by_leaf_and_keeps_the_structure():
    tree = nested()
    result = map_tree(lambda a, b: a - 2 * b, tree, nested(1))
    expected = [a - 2 * b for (_, a), (_, b) in zip(leaves(tree), leaves(nested(1)), strict=True)]
    assert [name for name, _ in leaves(map_tree(np.copy, tree))] == NAMES
    assert isinstance(result["pair"], tuple) and result["none"] == {}
    for (_, got), want in zip(leaves(result), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_map_tree_matches_by_name_whatever_the_order_of_keys():
    a = {"W": np.array([1.0]), "b": np.array([2.0])}
    b = {"b": np.array([20.0]), "W": np.array([10.0])}
    assert map_tree(lambda x, y: float(x[0] + y[0]), a, b) == {"W": 11.0, "b": 22.0}


def test_map_tree_names_the_missing_and_the_extra_and_calls_nothing():
    calls = []
    other = {"first": {"W": np.ones(3), "c": np.ones(3)}}
    with pytest.raises(
        ValueError, match=r"tree 2 is missing \['first\.b'\] and has the extra \['first\.c'\]"
    ):
        map_tree(lambda *a: calls.append(a), {"first": {"W": np.ones(3), "b": np.ones(3)}}, other)
    assert calls == []


@pytest.mark.parametrize(
    "other", [{"a.0": np.ones(3)}, {"a": {"0": np.ones(3)}}, {"a": (np.ones(3),), "c": {}}]
)
def test_map_tree_refuses_the_same_names_nested_otherwise(other):
    with pytest.raises(ValueError, match=r"tree 2 has the same names.*nests them differently"):
        map_tree(np.add, {"a": (np.ones(3),)}, other)


def test_align_uses_the_roles_in_errors():
    with pytest.raises(ValueError, match=r"the gradient is missing \['b'\].*of the parameters"):
        align({"b": np.ones(3)}, {}, roles=("the parameters", "the gradient"))


def test_overlaps_are_the_pairs_that_share_memory():
    arena = np.zeros(12)
    square = np.zeros((3, 4))
    arrays = [arena[0:5], square.T, arena[4:8], arena[8:12], square, arena[0:12:2], arena[1:12:2]]
    brute = {
        (j, k) for j in range(7) for k in range(j + 1, 7) if np.shares_memory(arrays[j], arrays[k])
    }
    assert {tuple(sorted(pair)) for pair in overlaps(arrays)} == brute
    assert (5, 6) not in brute and (0, 2) in brute and (1, 4) in brute


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flatten_and_unflatten_are_inverse(dtype):
    tree = nested(dtype=dtype)
    vector, unflatten = flatten(tree)
    assert vector.dtype == dtype and vector.shape == (3 * 4 + 3 + 4 * 5 + 1 + 3 * 4 * 5,)
    assert_same(unflatten(vector), tree)
    again = np.random.default_rng(2).normal(size=vector.shape).astype(dtype)
    np.testing.assert_array_equal(flatten(unflatten(again))[0], again)


def test_flatten_takes_leaves_in_c_order_and_copies():
    tree = {"F": np.asfortranarray(np.arange(12.0).reshape(3, 4)), "b": np.array([12.0])}
    vector, unflatten = flatten(tree)
    np.testing.assert_array_equal(vector, np.arange(13.0))
    result = unflatten(vector)
    vector[:] = -1.0
    assert tree["F"][0, 1] == 1.0 and result["F"][0, 1] == 1.0


def test_flatten_of_mixed_dtypes_is_wide_and_its_inverse_restores_them():
    tree = {"a": np.array([0.1], np.float32), "b": np.array([0.1], np.float64)}
    vector, unflatten = flatten(tree)
    assert vector.dtype == np.float64
    assert_same(unflatten(vector), tree)


def test_flatten_of_no_leaves_is_the_empty_vector():
    vector, unflatten = flatten({"a": (), "b": {}})
    assert vector.shape == (0,) and unflatten(vector) == {"a": (), "b": {}}


def test_flatten_and_unflatten_refuse_what_does_not_fit():
    with pytest.raises(TypeError, match="'n': flatten expects a floating dtype, got int64"):
        flatten({"n": np.array([1], np.int64)})
    _, unflatten = flatten({"b": np.ones(3)})
    for vector in (np.ones(4), np.ones((3, 1)), np.ones(3, complex)):
        with pytest.raises(ValueError, match=r"real vector of shape \(3,\)"):
            unflatten(vector)


def test_pruned_trees_have_the_leaves_that_are_kept_and_no_empty_branch() -> None:
    a, b, c = np.ones(1), np.ones(2), np.ones(3)
    tree = {"first": {"W": a, "pair": (b, c)}, "second": {"W": c}, "flat.name": a}
    found = pruned(tree, lambda name: name not in ("second.W", "first.W"))
    assert list(found) == ["first", "flat.name"] and list(found["first"]) == ["pair"]
    assert found["first"]["pair"] is tree["first"]["pair"] and found["flat.name"] is a
    assert pruned(tree, lambda name: name == "first.pair.1") == {"first": {"pair": (b, c)}}
    assert pruned(tree, lambda name: False) == {}
    assert pruned(a, lambda name: True) is a
