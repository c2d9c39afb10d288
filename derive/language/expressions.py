"""The expressions a layer is made of: nine nodes and one uninterpreted one.

variable, constant, linear combination, elementwise map, contraction, tuple, projection, argmax and
held (a value without derivative, or with the gradient that a potential has); a jet is a derivative
of an uninterpreted function.  Nodes are interned: equal expressions are the same object, so
sharing, names and equality are those of objects.

This is the table of what stands in `nodes`, `given_derivatives`, `coefficients`, `constructors`
and `arithmetic`; whoever imports from here has nodes with their operators.
"""

from .arithmetic import (
    apply_linear,
    count_of_parts,
    hadamard,
    is_square,
    like,
    part_at,
    parts,
    power,
    quotient,
    slice_of,
)
from .coefficients import coefficient
from .constructors import (
    aligned,
    along,
    argmax,
    axes,
    axis,
    commutative_key,
    constant,
    contraction,
    elementwise,
    held,
    is_zero,
    linear_combination,
    potential,
    projection,
    scaled_part,
    together,
    tuple_of,
    variable,
    zero,
)
from .given_derivatives import Gradient, Held, Jet, Potential
from .nodes import (
    Argmax,
    Constant,
    Contraction,
    Elementwise,
    LinearCombination,
    Node,
    Projection,
    Tuple,
    Variable,
    array_or_product,
    array_space,
    intern,
)

__all__ = [
    "Argmax",
    "Constant",
    "Contraction",
    "Elementwise",
    "Gradient",
    "Held",
    "Jet",
    "LinearCombination",
    "Node",
    "Potential",
    "Projection",
    "Tuple",
    "Variable",
    "aligned",
    "along",
    "apply_linear",
    "argmax",
    "array_or_product",
    "array_space",
    "axes",
    "axis",
    "coefficient",
    "commutative_key",
    "constant",
    "contraction",
    "count_of_parts",
    "elementwise",
    "hadamard",
    "held",
    "intern",
    "is_square",
    "is_zero",
    "like",
    "linear_combination",
    "part_at",
    "parts",
    "potential",
    "power",
    "projection",
    "quotient",
    "scaled_part",
    "slice_of",
    "together",
    "tuple_of",
    "variable",
    "zero",
]
