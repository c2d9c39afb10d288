"""Scalar functions that are computed to the last digits where the formula they stand for is not.

Each says what it is in plain functions, from which a proof starts, by what text it is computed, and
its derivative, in functions of the same kind.  They are what a law of `laws` writes instead of a
formula that loses its digits or overflows.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Abs, Piecewise, exp, log, sinh, tanh
from sympy.codegen.cfunctions import expm1, log1p


class StableFunction(sympy.Function):
    """A real function of real arguments, known to SymPy as a function of its own."""

    nargs = 1

    def plain(self) -> sympy.Expr:
        """The same in exp, log, tanh and erf."""
        raise NotImplementedError

    def computed(self) -> sympy.Expr:
        """The same as it is evaluated and emitted."""
        raise NotImplementedError

    def _eval_evalf(self, precision: int) -> sympy.Expr:
        return self.plain()._eval_evalf(precision)

    def _eval_is_extended_real(self) -> bool | None:
        return True if all(x.is_extended_real for x in self.args) else None

    def _eval_rewrite(self, rule: Any, args: Any, **hints: Any) -> sympy.Expr:
        return self.plain()


class _Positive(StableFunction):
    """A stable function whose values are positive."""

    def _eval_is_extended_positive(self) -> bool | None:
        known: bool | None = self.args[0].is_real
        return True if known else None


class sigmoid(_Positive):
    """1/(1 + e^-u); no exponential overflows."""

    def plain(self) -> sympy.Expr:
        return 1 / (1 + exp(-self.args[0]))

    def computed(self) -> sympy.Expr:
        (u,) = self.args
        e = exp(-Abs(u))
        return Piecewise((1 / (1 + e), u >= 0), (e / (1 + e), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sigmoid(self.args[0]) * sigmoid(-self.args[0])


class softplus(_Positive):
    """log(1 + e^u) = max(u, 0) + log(1 + e^-|u|)."""

    def plain(self) -> sympy.Expr:
        return log(1 + exp(self.args[0]))

    def computed(self) -> sympy.Expr:
        (u,) = self.args
        small = log1p(exp(-Abs(u)))
        return Piecewise((u + small, u > 0), (small, True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sigmoid(self.args[0])


class sech(_Positive):
    """1/cosh u = 2 e^-|u|/(1 + e^-2|u|)."""

    def plain(self) -> sympy.Expr:
        return 2 / (exp(self.args[0]) + exp(-self.args[0]))

    def computed(self) -> sympy.Expr:
        e = exp(-Abs(self.args[0]))
        return 2 * e / (1 + e**2)

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return -sech(self.args[0]) * tanh(self.args[0])


class log_cosh(StableFunction):
    """log cosh u: by cosh u - 1 = 2 sinh(u/2)^2 near 0, by |u| - log 2 further out."""

    def plain(self) -> sympy.Expr:
        (u,) = self.args
        return log((exp(u) + exp(-u)) / 2)

    def computed(self) -> sympy.Expr:
        (u,) = self.args
        far = Abs(u) - log(2) + log1p(exp(-2 * Abs(u)))
        return Piecewise((log1p(2 * sinh(u / 2) ** 2), Abs(u) < 1), (far, True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return tanh(self.args[0])


class less_log_2(StableFunction):
    """u - log 2, with log 2 in two parts: exact to a rounding near log 2."""

    HIGH = sympy.Rational(45426, 65536)  # exact in float32, and so is u - HIGH near by

    def plain(self) -> sympy.Expr:
        return self.args[0] - log(2)

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return sympy.S.One


class log_expm1(StableFunction):
    """log(e^u - 1), for u > 0; e^u - 2 = 2 (e^(u - log 2) - 1) near its zero log 2."""

    def plain(self) -> sympy.Expr:
        return log(exp(self.args[0]) - 1)

    def computed(self) -> sympy.Expr:
        (u,) = self.args
        middle = log1p(2 * expm1(less_log_2(u)))
        far = u + log1p(-exp(-u))
        return Piecewise((far, u > 1), (middle, u > sympy.Rational(1, 2)), (log(expm1(u)), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return -1 / expm1(-self.args[0])


class log1mexp(StableFunction):
    """log(1 - e^-u), for u > 0 (M. Maechler, Accurately computing log(1 - exp(-|a|)), 2012)."""

    def plain(self) -> sympy.Expr:
        return log(1 - exp(-self.args[0]))

    def computed(self) -> sympy.Expr:
        (u,) = self.args
        return Piecewise((log1p(-exp(-u)), u > log(2)), (log(-expm1(-u)), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return 1 / expm1(self.args[0])


class logaddexp(StableFunction):
    """log(e^u + e^v), by the larger of the two."""

    nargs = 2

    def plain(self) -> sympy.Expr:
        u, v = self.args
        return log(exp(u) + exp(v))

    def computed(self) -> sympy.Expr:
        u, v = self.args
        return Piecewise((u + log1p(exp(v - u)), u > v), (v + log1p(exp(u - v)), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        u, v = self.args
        return sigmoid(u - v) if argindex == 1 else sigmoid(v - u)


class root_less_1(StableFunction):
    """sqrt(1 + u) - 1; u/(1 + sqrt(1 + u)) where the root is small, for it is inf/inf at inf."""

    def plain(self) -> sympy.Expr:
        return sympy.sqrt(1 + self.args[0]) - 1

    def computed(self) -> sympy.Expr:
        (u,) = self.args
        return Piecewise((self.plain(), u > 8), (u / (1 + sympy.sqrt(1 + u)), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return 1 / (2 * sympy.sqrt(1 + self.args[0]))


class exp_expm1(StableFunction):
    """e^v (e^u - 1), where one factor may overflow and the other vanish."""

    nargs = 2

    def plain(self) -> sympy.Expr:
        v, u = self.args
        return exp(v) * (exp(u) - 1)

    def computed(self) -> sympy.Expr:
        v, u = self.args
        return Piecewise((-exp(u + v) * expm1(-u), u > 0), (exp(v) * expm1(u), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        return self if argindex == 1 else exp(sum(self.args))


class power_log(StableFunction):
    """u^v log(u)^n for a whole n, 0 at u = 0 where v > 0, which is the limit."""

    nargs = 3

    @classmethod
    def eval(cls, u: sympy.Expr, v: sympy.Expr, n: sympy.Expr) -> sympy.Expr | None:
        bounded = n == 0 or (v.is_number and not v.is_positive)
        return u**v * log(u) ** n if bounded else None

    def plain(self) -> sympy.Expr:
        u, v, n = self.args
        return u**v * log(u) ** n

    def computed(self) -> sympy.Expr:
        u, v, _ = self.args
        at_zero = sympy.Eq(u, 0) if v.is_number else sympy.And(sympy.Eq(u, 0), v > 0)
        return Piecewise((0, at_zero), (self.plain(), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        u, v, n = self.args
        if argindex == 2:
            return power_log(u, v, n + 1)
        return v * power_log(u, v - 1, n) + n * power_log(u, v - 1, n - 1)


class falling_power(StableFunction):
    """The k-th derivative of u^v by u, v (v - 1) .. u^(v - k); 0 where the factor before u is 0."""

    nargs = 3

    def plain(self) -> sympy.Expr:
        u, v, k = self.args
        return sympy.ff(v, k) * u ** (v - k)

    def computed(self) -> sympy.Expr:
        _, v, k = self.args
        return Piecewise((0, sympy.Eq(sympy.ff(v, k), 0)), (self.plain(), True))

    def fdiff(self, argindex: int = 1) -> sympy.Expr:
        u, v, k = self.args
        if argindex == 1:
            return falling_power(u, v, k + 1)
        w = sympy.Dummy("w", real=True)  # an exponent may be any expression: b + 1, 1/b
        factor = sympy.expand(sympy.ff(w, k))
        slope, factor = (part.xreplace({w: v}) for part in (factor.diff(w), factor))
        return slope * u ** (v - k) + factor * power_log(u, v - k, 1)
