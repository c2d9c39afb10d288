"""Elementary functions, gemm and fill, as kernels call them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from edge_kernels import DTYPES, FUNCTIONS, draw

# ---- elementary functions and primitives ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_elementary_functions_are_those_of_their_precision(hand: Any, dtype: Any) -> None:
    """Against Python's float64 functions at the same point; libm errs by at most 4 ulp (glibc)."""
    x = np.array([0.25, 0.5, 1.0, 1.75, 3.0], dtype)
    rows = hand.all_functions(x)
    for name, row in zip(FUNCTIONS, rows, strict=False):
        exact = np.array([getattr(math, name)(float(v)) for v in x])
        assert np.all(np.abs(row - exact) <= 4 * np.finfo(dtype).eps * np.abs(exact)), name
    normal = np.array([math.erfc(-float(v) / math.sqrt(2)) / 2 for v in x])
    for row, exact in zip(rows[14:], (x.astype(float) ** 1.5, normal, x * normal), strict=True):
        assert np.allclose(row, exact, rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_passes_through_every_function_under_the_native_flags(hand: Any, dtype: Any) -> None:
    """In the middle of enough entries to be vectorised."""
    x = np.full(37, 0.5, dtype)
    x[17] = np.nan
    found = hand.all_functions(x)
    assert np.isnan(found[:, 17]).all()
    assert np.isfinite(np.delete(found, 17, axis=1)).all()


LAYOUTS = ["row", "column", "loose"]


def laid_out(layout: str, shape: tuple[int, int], dtype: Any, seed: int) -> Any:
    whole = draw(2 * shape[0], 3 * shape[1], dtype=dtype, seed=seed)
    if layout == "loose":
        return whole[::2, ::3]
    return np.array(whole[: shape[0], : shape[1]], order="C" if layout == "row" else "F")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", LAYOUTS)
@pytest.mark.parametrize("b", LAYOUTS)
@pytest.mark.parametrize("a", LAYOUTS)
def test_gemm_adds_the_product_for_all_strides(
    hand: Any, a: str, b: str, c: str, dtype: Any
) -> None:
    """|error| <= (K + 4) eps |alpha| |A||B|, the bound for a sum of K products in any order."""
    for M, N, K in (
        (3, 4, 5),
        (1, 1, 1),
        (1, 37, 5),
        (37, 1, 19),
        (9, 2, 37),
        (2, 9, 16),
        (3, 4, 0),
    ):
        A, B = laid_out(a, (M, K), dtype, 1), laid_out(b, (K, N), dtype, 2)
        base = np.full((2 * M + 2, 3 * N + 2), 7.25, dtype, order="F" if c == "column" else "C")
        step = (2, 3) if c == "loose" else (1, 1)
        C = base[1 : 1 + step[0] * M : step[0], 1 : 1 + step[1] * N : step[1]]
        strides = [s // dtype().itemsize for X in (A, B, C) for s in X.strides]
        ends = [(X.ctypes.data, *strides[2 * i : 2 * i + 2]) for i, X in enumerate((A, B, C))]
        hand.product(dtype == np.float32, M, N, K, -0.5, *ends[0], *ends[1], *ends[2])
        exact = 7.25 - 0.5 * A.astype(np.longdouble) @ B.astype(np.longdouble)
        size = 7.25 + 0.5 * np.abs(A).astype(float) @ np.abs(B).astype(float)
        assert np.all(np.abs(C - exact) <= (K + 4) * np.finfo(dtype).eps * size)
        C[...] = 7.25
        assert (base == 7.25).all()


def test_fill_fills_and_stops(hand: Any) -> None:
    array = np.zeros(9)
    hand.filled(5, 2.5, array.ctypes.data)
    assert array.tolist() == [2.5] * 5 + [0.0] * 4
