"""Gradient descent on networks: Algorithms 3.2.1 and 4.1.1 of the thesis, and the training loop.

Each numbered line of `gradients` and `mlp_gradients` is the line of that number in the thesis.  They
run on the NumPy reference, for a point or, lifted, for a batch over which the gradient is averaged;
`fit` runs on compiled kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Literal

import numpy as np

from .expressions import Node, Variable
from .layers import Layer
from .maps import LinearMap
from .networks import Network, Stage
from .operations import Operation
from .operations import exp as psi_exp
from .optimise import GradientDescent, Optimiser, check_finite, clip_by_norm, clip_by_value
from .parameters import Array, Tree, leaves, map_tree
from .programs import BATCH
from .reference import Value, flat_arrays, value
from .spaces import Real, SpaceError
from .spaces import leaves as array_spaces
from .walk import topological

Kind = Literal["regression", "classification"]
Values = Mapping[str, Value]
