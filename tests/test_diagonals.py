r"""Matrices with a diagonal as they are printed: diag(d) A, A diag(d), diag(d) (x) a, Q (x) a.

What a cell's blocks print is read again and computed, by a reader that shares nothing with them.
"""

import numpy as np
import pytest
from latex_reader import read
from recurrent_networks import NETWORKS
from test_notation_read import agree, operations_of

from derive import Hom, R, dims, form, indices, sigmoid, tanh, variable
from derive.latex.network_problem import NetworkProblem
from derive.latex.online_names import OnlineNames
from derive.latex.online_section import OnlineSection
from derive.latex.backward_section import BackwardSection
from derive.latex.recursions import equations_of
from derive.latex.writer import latex_writer
from derive.maps import variables_of
from derive.checks.sampling import draw
from derive.reference import values_of

n, m, k = dims("n m k")
d, e = variable("d", R(n)), variable("e", R(n))
a, A, B = variable("a", R(m)), variable("A", Hom(R(m), R(n))), variable("B", Hom(R(n), R(m)))
T, S = variable("T", R(n, m, k)), variable("S", Hom(R(n), R(n)))
i, j, l = indices("i j l")
rows = form("", d=(i,), A=(i, j), to=(i, j))
columns = form("", d=(j,), A=(i, j), to=(i, j))
in_front = form("", A=(i, j), T=(j, l, m), to=(i, l, m)) if False else None


def written(node) -> str:
    return latex_writer({}).formula(node)
