"""Equations that do not hold: how they are named, and values that are no numbers."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from derive import R, dims, tanh
from derive.calculus.maps import substituted
from derive.evidence.checks.drawing import Point
from derive.language.abbreviations import abbreviated
from derive.language.expressions import linear_combination, variable
from derive.writing.layers.claims import Equation, FalseEquation, Side, check, in_names

n = dims("n")
X = variable("x", R(n))
TWICE = linear_combination([(2.0, X)])


def point(*entries: float) -> Point:
    return Point({n: len(entries)}, {X: np.array(entries)})


def equation(left, reason: str = "linearity") -> Equation:
    return Equation(Side(left, TWICE), Side(X, X), reason)


def test_an_equation_is_named_by_its_left_side_and_its_reason() -> None:
    sentence = r"^f: equation 2 \(D f\\cdot v, linearity\) is off by 3.0e\+00, allowed .*written$"
    true = Equation(Side("y", X), Side(X, X))
    with pytest.raises(FalseEquation, match=sentence):
        check("f", [true, equation(r"D f\cdot v")], point(1.0, -3.0))


@pytest.mark.parametrize(("reason", "named"), [("linearity", "linearity"), ("", "by definition")])
def test_a_left_side_that_is_no_text_leaves_the_reason(reason, named) -> None:
    with pytest.raises(FalseEquation, match=rf"f: equation 1 \({named}\) is off by"):
        check("f", [equation(X, reason)], point(1.0))
    with pytest.raises(FalseEquation, match=r"f: equation 1 \(y, by definition\) is off by"):
        check("f", [equation("y", "")], point(1.0))


@pytest.mark.parametrize("entry", [np.nan, np.inf])
def test_what_is_no_number_is_refused_without_a_warning(entry) -> None:
    same = replace(equation("y"), right=Side(TWICE, TWICE))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FalseEquation, match="is off by nan"):
            check("f", [same], point(1.0, entry))


def test_parts_put_back_in_their_places_are_the_whole() -> None:
    """The names of `in_names` replaced by what they stand for, from the last to the first."""
    whole = X
    for _ in range(7):
        whole = tanh(whole * X + 1)
    names = abbreviated((whole, whole * X), {}, longest=5)
    parts, short = in_names((whole, whole * X), names)
    assert len(parts) == len(names) > 3 and short[0] is not whole
    for part in reversed(parts):
        assert part.right.meaning in names
        short = [substituted(x, {part.left.shown: part.right.shown}) for x in short]
    assert short == [whole, whole * X]
