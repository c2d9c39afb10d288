"""The normal distribution: Phi(x) and x Phi(x) as functions of their own, for SymPy and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy


class normal_cdf(sympy.Function):
    """Phi(x) = (1 + erf(x/sqrt 2))/2, a function of its own.

    By erf the tail cancels, by erfc the rounding of x/sqrt 2 is amplified (1600 ulp at -37).
    """

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.exp(-(self.args[0] ** 2) / 2) / sympy.sqrt(2 * sympy.pi)

    def _eval_rewrite_as_erf(self, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        return (1 + sympy.erf(x / sympy.sqrt(2))) / 2

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return (sympy.erfc(-self.args[0] / sympy.sqrt(2)) / 2)._eval_evalf(precision)


class normal_gelu(sympy.Function):
    """x Phi(x), a function of its own: Phi(x) may be subnormal where x Phi(x) is not."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return normal_cdf(self.args[0]) + self.args[0] * normal_cdf(self.args[0]).fdiff()

    def _eval_rewrite_as_erf(self, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        return x * normal_cdf(x).rewrite(sympy.erf)

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return (self.args[0] * normal_cdf(self.args[0]))._eval_evalf(precision)


_INNER = (
    0.3989422804014327,
    -0.06649038006690544,
    0.009973557010035243,
    -0.0011873282154673639,
    0.00011543468746461614,
    -9.444655251026647e-06,
    6.659652604009616e-07,
    -4.121637794475137e-08,
    2.257799209608136e-09,
    -9.955441369415457e-11,
)
_OUTER = (
    0.8461123547250693,
    -0.03964700840400638,
    -0.054008075034081615,
    0.10088858203462767,
    -0.1006574382164558,
    0.07248782697330564,
    -0.03933220136308841,
    0.015422845725142032,
    -0.0035716953405022286,
    -0.00011869398451647304,
    0.00042509519861903507,
    -0.00010817442345730917,
    -2.643428377226518e-05,
    1.938195719717148e-05,
    5.285366763855968e-07,
    -2.8396000541701527e-06,
    1.8741866280767753e-07,
    4.040792291860988e-07,
    -4.8621957715720586e-08,
    -4.4098773136216166e-08,
    7.475054062326398e-09,
)


def _rounded_off(a: Any, b: Any) -> Any:
    """a b minus its floating-point value, by halves with exact products (T. J. Dekker 1971)."""
    a_high, b_high = (v.astype(np.float32).astype(np.float64) for v in (a, b))
    a_low, b_low = a - a_high, b - b_high
    return (a_high * b_high - a * b) + a_high * b_low + a_low * b_high + a_low * b_low


def weighted_normal_cdf(weight: Any, x: Any) -> Any:
    """weight Phi(x), as in runtime/normal.h."""
    w, x64 = np.asarray(weight, np.float64), np.asarray(x, np.float64)
    near = w * (0.5 + x64 * np.polyval(_INNER[::-1], x64 * x64))
    y = np.minimum(abs(x64), 41)
    above, below = np.polyval(_OUTER[::-1], (y - 5) / (y + 5)), 1 + 2 * y
    mills = above / below
    lost = (above - mills * below) - _rounded_off(mills, below) - mills * (1 - (below - 2 * y))
    lost = lost / below - 0.5 * _rounded_off(y, y) * mills
    density = np.exp(-0.5 * y * y)
    left = mills * density + lost * density
    root = np.exp(-0.25 * y * y)
    places = [abs(x64) < 0.75, x64 > 40, x64 < -40, x64 > 0, y < 37.5]
    values = [near, w, np.copysign(0, w), w * (1 - left), w * left]
    value = np.select(places, values, w * (mills + lost) * root * root)
    return value.astype(np.asarray(x).dtype)
