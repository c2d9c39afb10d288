"""The normal distribution: Phi(x) and x Phi(x) as functions of their own, for SymPy and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy
from sympy.codegen.cfunctions import log1p

from .stable import StableFunction


class weighted_normal_pdf(sympy.Function):
    """w phi(x), phi(x) = exp(-x^2/2)/sqrt(2 pi): 0 far out, whatever the weight is."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        w, x = self.args
        return weighted_normal_pdf(sympy.S.One if argindex == 1 else -w * x, x)

    def _eval_rewrite_as_exp(self, w: sympy.Expr, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        return w * sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return self.rewrite(sympy.exp)._eval_evalf(precision)


class normal_cdf(sympy.Function):
    """Phi(x) = (1 + erf(x/sqrt 2))/2, a function of its own.

    By erf the tail cancels, by erfc the rounding of x/sqrt 2 is amplified (1600 ulp at -37).
    """

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return weighted_normal_pdf(sympy.S.One, self.args[0])

    def _eval_rewrite_as_erf(self, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        return (1 + sympy.erf(x / sympy.sqrt(2))) / 2

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return (sympy.erfc(-self.args[0] / sympy.sqrt(2)) / 2)._eval_evalf(precision)


class normal_gelu(sympy.Function):
    """x Phi(x), a function of its own: Phi(x) may be subnormal where x Phi(x) is not."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        (x,) = self.args
        return normal_cdf(x) + weighted_normal_pdf(x, x)

    def _eval_rewrite_as_erf(self, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        return x * normal_cdf(x).rewrite(sympy.erf)

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return (self.args[0] * normal_cdf(self.args[0]))._eval_evalf(precision)


class normal_mean_excess(sympy.Function):
    """E[X - x | X > x] = phi(x)/Phi(-x) - x, a function of its own: for large x that cancels."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        x, excess = self.args[0], self
        return (x + excess) * excess - 1

    def _eval_rewrite_as_erf(self, x: sympy.Expr, **hints: Any) -> sympy.Expr:
        density = weighted_normal_pdf(sympy.S.One, x).rewrite(sympy.exp)
        return density / normal_cdf(-x).rewrite(sympy.erf) - x

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return self.rewrite(sympy.erf)._eval_evalf(precision)


class normal_hazard(StableFunction):
    """phi(x)/Phi(-x), the hazard function: x plus the mean excess for x > 0."""

    def plain(self) -> sympy.Expr:
        (x,) = self.args
        return normal_mean_excess(x).rewrite(sympy.erf) + x

    def computed(self) -> sympy.Expr:
        (x,) = self.args
        near = weighted_normal_pdf(1 / normal_cdf(-x), x)
        return sympy.Piecewise((x + normal_mean_excess(x), x > 0), (near, True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return self * normal_mean_excess(self.args[0])


class log_normal_cdf(StableFunction):
    """log Phi(x): by -x^2/2 and the hazard function on the left, by 1 - Phi(-x) on the right."""

    def plain(self) -> sympy.Expr:
        return sympy.log(normal_cdf(self.args[0]).rewrite(sympy.erf))

    def computed(self) -> sympy.Expr:
        (x,) = self.args
        hazard = normal_mean_excess(-x) - x
        left = -(x**2) / 2 - sympy.log(sympy.sqrt(2 * sympy.pi) * hazard)
        near, right = sympy.log(normal_cdf(x)), log1p(-normal_cdf(-x))
        return sympy.Piecewise((left, x < -sympy.Rational(3, 4)), (near, x < 0), (right, True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return normal_hazard(-self.args[0])


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

_EXCESS = (
    1.1280357224473554,
    -0.06205637998113667,
    -0.1921037481908368,
    0.1929324688791157,
    -0.061071084203151584,
    -0.030769392023215606,
    0.032424205043571394,
    -0.00112908609798541,
    -0.010605538940715515,
    0.003292660342486208,
    0.0027520370292927632,
    -0.0016937119992097756,
    -0.0005603819495247815,
    0.000638992392789425,
    6.873380328667616e-05,
    -0.00020239759286673183,
    9.234017243133806e-06,
    5.5229531150916865e-05,
    -1.0322737618097768e-05,
    -1.2628650305334987e-05,
    4.671551439358809e-06,
    2.12872709297728e-06,
    -1.6259475425271224e-06,
    -1.0139888754592346e-07,
    4.72593578692171e-07,
    -9.817661306843955e-08,
    -1.1107551441490908e-07,
    4.4528489195668205e-08,
    1.8568857721496626e-08,
    -9.871071467259489e-09,
    -1.6082886946458407e-09,
    9.887345243433337e-10,
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


def weighted_density(weight: Any, x: Any) -> Any:
    """weight phi(x), as in runtime/normal.h."""
    w, x64 = np.asarray(weight, np.float64), np.asarray(x, np.float64)
    y = np.minimum(abs(x64), 41)
    lost, scaled = 1 - 0.5 * _rounded_off(y, y), w * 0.3989422804014327
    root = np.exp(np.where(y < 37.5, -0.5, -0.25) * y * y)
    near = np.where(y < 37.5, scaled * (root * lost), scaled * lost * root * root)
    value = np.where(y > 40, np.where(np.isnan(w), w, np.copysign(0, w)), near)
    return value.astype(np.result_type(weight, x))


def mean_excess(x: Any) -> Any:
    """phi(x)/Phi(-x) - x, as in runtime/normal.h."""
    x64 = np.asarray(x, np.float64)
    far = np.polyval(_EXCESS[::-1], 1 - 8 / (np.maximum(x64, 0) + 4)) / (1 + np.maximum(x64, 0))
    near = weighted_density(1.0, x64) / weighted_normal_cdf(1, -x64) - x64
    return np.where(x64 > 0, far, near).astype(np.asarray(x).dtype)
