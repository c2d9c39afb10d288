"""A file whose annotations are texts: declaring a layer in it is refused."""

from __future__ import annotations

from derive import R, dims, layer

n = dims("n")


def declare():
    @layer
    def late(x: R(n)) -> R(n):
        return 2 * x

    return late
