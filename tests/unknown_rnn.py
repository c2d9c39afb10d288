"""A recurrent network of functions of which nothing is known, unrolled over L steps.

h_i = f(h_{i-1}; x_i; theta), y^_i = g(h_i; zeta), J = sum over i of J(y_i, y^_i), as expressions;
the maps of single functions by hand, those of any expression by the calculus.
"""

from collections.abc import Iterable

from derive import R, dims, uninterpreted, variable
from derive.calculus.calculus import tangent, transpose
from derive.language.expressions import Jet, LinearCombination, Node, constant, linear_combination
from derive.language.normal_form import normal
from derive.language.walk import jet, rebuild, rewrite, topological

n_h, n_x, n_y, n_theta, n_zeta = dims("n_h n_x n_y n_theta n_zeta")
Eh, Ex, Ey, HT, HP = (R(size) for size in (n_h, n_x, n_y, n_theta, n_zeta))
f_, g_ = uninterpreted("f", Eh, Ex, HT, Eh), uninterpreted("g", Eh, HP, Ey)
J_ = uninterpreted("J", Ey, Ey, R())  # any loss of a target and a prediction
L = 4
STATE, INPUT, PARAMETER = 0, 1, 2
ONE = constant(1, R())
h, theta, zeta = variable("h_0", Eh), variable("theta", HT), variable("zeta", HP)
U, v, w = variable("U", HT), variable("v", Eh), variable("w", Eh)
x = [variable(f"x_{i}", Ex) for i in range(L + 1)]
y = [variable(f"y_{i}", Ey) for i in range(L + 1)]
states = [h, *(variable(f"h_{i}", Eh) for i in range(1, L + 1))]


# --- the network


def f(i: int, at: Node) -> Node:
    """f_i(at) = f(at; x_i; theta)."""
    return f_(at, x[i], theta)


def mu(j: int, i: int, at: Node) -> Node:
    """mu_{j,i} = f_j . .. . f_i (5.2), the identity for j < i."""
    return at if j < i else f(j, mu(j - 1, i, at))


def alpha(i: int) -> Node:
    """alpha_i(h) = (f_i . .. . f_1)(h) (5.1)."""
    return mu(i, 1, h)


def loss(i: int, at: Node) -> Node:
    """J(y_i, g(at))."""
    return J_(y[i], g_(at, zeta))


def losses(i: int, last: int, at: Node) -> Node:
    """The losses from i to `last` as a function of h_i (5.15)."""
    return linear_combination([(1, loss(j, mu(j, i + 1, at))) for j in range(i, last + 1)])


TOTAL = linear_combination([(1, loss(j, alpha(j))) for j in range(1, L + 1)])  # (5.4)


# --- maps by the calculus


def D(expression: Node, at: Node, direction: Node) -> Node:
    """The derivative by a variable along a direction."""
    return tangent(expression, {at: direction})


def adjoint(expression: Node, at: Node, cotangent: Node) -> Node:
    """The adjoint of the derivative by a variable."""
    dot = variable("dot", at.space)
    return transpose(D(expression, at, dot), cotangent, [dot])[dot]


def put(expression: Node, at: Node, there: Node) -> Node:
    """The expression at another value of a variable."""
    return rewrite([expression], {at: there}.get)[expression]


# --- maps of single functions by hand


def Df(i: int, at: Node, direction: Node) -> Node:
    """D f_i(at) . direction."""
    return jet("f", Eh, (at, x[i], theta), [(STATE, direction)])


def nabla_f(i: int, at: Node, direction: Node) -> Node:
    """nabla_theta f_i(at) . direction."""
    return jet("f", Eh, (at, x[i], theta), [(PARAMETER, direction)])


def Df_adjoint(i: int, at: Node, cotangent: Node) -> Node:
    """D* f_i(at) . cotangent."""
    return jet("f", Eh, (at, x[i], theta), [], STATE, cotangent)


def nabla_f_adjoint(i: int, at: Node, cotangent: Node) -> Node:
    """nabla*_theta f_i(at) . cotangent."""
    return jet("f", HT, (at, x[i], theta), [], PARAMETER, cotangent)


def e(i: int, at: Node) -> Node:
    """The prediction error e_i: the derivative of the loss by the prediction (5.9)."""
    return jet("J", Ey, (y[i], g_(at, zeta)), [], 1, ONE)


def Dg_error(i: int, at: Node) -> Node:
    """D* g(at) . e_i."""
    return jet("g", Eh, (at, zeta), [], 0, e(i, at))


def nabla_g_error(i: int, at: Node) -> Node:
    """nabla*_zeta g(at) . e_i."""
    return jet("g", HP, (at, zeta), [], 1, e(i, at))


def mu_adjoint(j: int, i: int, at: Node, cotangent: Node) -> Node:
    """D* mu_{j,i}(at) . cotangent, from D* f_j to D* f_i."""
    for r in range(j, i - 1, -1):
        cotangent = Df_adjoint(r, mu(r - 1, i, at), cotangent)
    return cotangent


def Dmu(j: int, i: int, at: Node, direction: Node) -> Node:
    """D mu_{j,i}(at) . direction, from D f_i to D f_j."""
    for r in range(i, j + 1):
        direction = Df(r, mu(r - 1, i, at), direction)
    return direction


# --- equality


def added(terms: Iterable[Node]) -> Node:
    """The sum of expressions."""
    return linear_combination([(1, term) for term in terms])


def spread(node: Node) -> Node:
    """The expression with its linear maps of sums written as sums: A(a + b) = A a + A b."""
    new: dict[Node, Node] = {}
    for inner_ in topological(node):
        moved = rebuild(inner_, [new[operand] for operand in inner_.operands])
        new[inner_] = _parted(moved) if isinstance(moved, Jet) else moved
    return new[node]


def _parted(node: Jet) -> Node:
    """A derivative as the sum over what its direction, or its cotangent, is the sum of."""
    linear = node.operands[len(node.arguments) :]
    if not linear or not isinstance(linear[0], LinearCombination):
        return node
    (whole,) = linear
    each = [(weight, rebuild(node, [*node.arguments, term])) for weight, term in whole.terms]
    return linear_combination(
        [(weight, _parted(part) if isinstance(part, Jet) else part) for weight, part in each]
    )


def same(left: Node, right: Node) -> bool:
    """One normal form."""
    new = normal(left, right)
    return new[left] is new[right]


def same_by_linearity(left: Node, right: Node) -> bool:
    """Equal up to the order of terms and to linear maps of sums."""
    return same(spread(left), spread(right))
