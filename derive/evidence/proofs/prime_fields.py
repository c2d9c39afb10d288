"""Random points, and towers of prime fields with an exponential from each into the next."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

import sympy

SMALL = 8 * 3 * 5 * 7 * 11 * 13  # M in the docstring of `field`


class Redraw(Exception):
    """The expression has no value at this point."""


@dataclass(frozen=True)
class Point:
    """Random values for symbols, fixed by a seed and the number of the draw.

    >>> Point(0, 0).rational(sympy.Symbol("x")) == Point(0, 0).rational(sympy.Symbol("x"))
    True
    """

    seed: int
    draw: int

    def rational(self, symbol: sympy.Symbol) -> Fraction:
        """One of 2^30 odd multiples of 2^-29 in (-2, 2), with the sign the symbol assumes."""
        value = Fraction(2 * self.element(2**30, sympy.srepr(symbol)) + 1 - 2**30, 2**29)
        if symbol.is_nonnegative or symbol.is_nonpositive:
            return abs(value) if symbol.is_nonnegative else -abs(value)
        return value

    def element(self, modulus: int, *key: Hashable) -> int:
        """A pseudo-random integer in [0, modulus), the same for the same key."""
        digest = blake2b(repr((self.seed, self.draw, modulus, key)).encode())
        return int.from_bytes(digest.digest()) % modulus


class Field(NamedTuple):
    """F_p, with g an element whose order is the prime of the field below (1 at the bottom)."""

    p: int
    g: int


@cache
def field(tower: int, level: int) -> Field:
    """The field of a tower at a level: p = -1 mod SMALL, and p_{k+1} = c p_k + 1."""
    if level == 0:
        start = 2**61 // SMALL + 2**20 * tower
        return Field(next(p for j in count(start) if sympy.isprime(p := j * SMALL - 1)), 1)
    below = field(tower, level - 1).p
    primes = ((c * below + 1, c) for c in count(2, SMALL) if sympy.isprime(c * below + 1))
    return next(Field(p, g) for p, c in primes if (g := pow(2, c, p)) != 1)
