"""What random layers are made of: each constructor as the user writes it and as PyTorch has it.

`{0}`, `{1}` are operands, `{c}` a coefficient, `{a0}`, `{a1}` the extents of the first operand,
`{b0}` those of the second, `{n}` a size of its own.  The two columns share nothing: PyTorch's is
the oracle of the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy

Shape = tuple[sympy.Expr, ...]


@dataclass(frozen=True)
class Rule:
    """A constructor: its kind, both texts, what it takes, the shape of what it makes.

    `positive` says that all entries of the result are; an operand `positive` asks for that.
    """

    kind: str
    layerwise: str
    torch: str
    takes: tuple[str, ...]
    shape: Callable[..., Shape]
    positive: bool = False


def same(a: Shape, *others: Shape) -> Shape:
    return a


def number(*shapes: Shape) -> Shape:
    return ()


def rows(a: Shape, *others: Shape) -> Shape:
    return a[:-1]


def _entrywise(layerwise: str, torch: str, takes: str = "any", positive: bool = False) -> Rule:
    return Rule("entrywise", layerwise, torch, (takes,), same, positive)


ENTRYWISE = (
    *(_entrywise(f"{name}({{0}})", f"torch.{name}({{0}})") for name in ("tanh", "relu")),
    _entrywise("sigmoid({0})", "torch.sigmoid({0})", positive=True),
    _entrywise("leaky_relu({0})", "torch.nn.functional.leaky_relu({0})"),
    _entrywise("elu({0})", "torch.nn.functional.elu({0})"),
    _entrywise("softplus({0})", "torch.nn.functional.softplus({0}, 1, 100)", positive=True),
    _entrywise("gelu({0})", "torch.nn.functional.gelu({0})"),
    _entrywise("exp({0})", "torch.exp({0})", positive=True),
    _entrywise("exp(-{0} * {0})", "torch.exp(-({0}**2))", positive=True),
    _entrywise("{0} * {0} + 1", "{0}**2 + 1", positive=True),
    _entrywise("log({0})", "torch.log({0})", "positive"),
    _entrywise("log(1 + {0} * {0})", "torch.log1p({0}**2)"),
    _entrywise("sqrt({0})", "torch.sqrt({0})", "positive", positive=True),
    _entrywise("1 / {0}", "1 / {0}", "positive", positive=True),
    _entrywise("{0} ** 2", "{0} ** 2"),
    _entrywise("{0} ** 3", "{0} ** 3"),
    _entrywise("{0} ** -2", "{0} ** -2", "positive", positive=True),
    _entrywise("{0} ** sympy.Rational(3, 2)", "{0} ** 1.5", "positive", positive=True),
    _entrywise("{0} ** 0.5", "{0} ** 0.5", "positive", positive=True),
    _entrywise("-{0}", "-{0}"),
    _entrywise("log1p({0})", "torch.log1p({0})", "positive"),
    _entrywise("expm1({0})", "torch.expm1({0})"),
    _entrywise("log(sigmoid({0}))", "torch.nn.functional.logsigmoid({0})"),
    _entrywise("log(1 - sigmoid({0}))", "torch.nn.functional.logsigmoid(-{0})"),
    _entrywise("sqrt({0}) * sqrt({0})", "{0}", "positive", positive=True),
    Rule("held", "held({0})", "{0}.detach()", ("any",), same),
)
NUMBERS = (
    Rule("large numbers", "sqrt({0} * {0} + 1e-12)", "torch.sqrt({0}**2 + 1e-12)", ("any",), same,
         True),
    Rule("entrywise", "{c} * {0}", "{c} * {0}", ("any",), same),
    Rule("entrywise", "{0} + {c}", "{0} + {c}", ("any",), same),
    Rule("entrywise", "{c} - {0}", "{c} - {0}", ("any",), same),
    Rule("entrywise", "{0} / {c}", "{0} / {c}", ("any",), same),
)  # fmt: skip
ZEROS = (
    Rule("zero", "0 * {0}", "0 * {0}", ("any",), same),
    Rule("zero", "{0} - {0}", "{0} - {0}", ("any",), same),
    Rule("zero", "{0} * (0 * {1})", "{0} * (0 * {1})", ("any", "like"), same),
    Rule("zero", "scale(0 * {0}, {1})", "0 * {0} * {1}", ("scalar", "any"), lambda a, b: b),
    Rule("zero", "exp(0 * {0})", "torch.exp(0 * {0})", ("any",), same, True),
    Rule("zero", "softmax({0} - {0})", "torch.softmax({0} - {0}, -1)", ("row",), same, True),
    Rule("zero", "log_sum_exp(0 * {0})", "torch.logsumexp(0 * {0}, -1)", ("row",), rows),
    Rule("zero", "held(0 * {0}) + {0}", "{0}", ("any",), same),
)
ROWS = (
    Rule("rows", "softmax({0})", "torch.softmax({0}, -1)", ("row",), same, True),
    Rule("rows", "log_softmax({0})", "torch.log_softmax({0}, -1)", ("row",), same),
    Rule("rows", "log_sum_exp({0})", "torch.logsumexp({0}, -1)", ("row",), rows),
    Rule("rows", "log(softmax({0}))", "torch.log_softmax({0}, -1)", ("row",), same),
    Rule(
        "rows", "log(total_sum(exp({0})))", "torch.logsumexp({0}.reshape(-1), 0)", ("row",), number
    ),
    Rule("rows", "largest({0})", "{0}.max(-1).values", ("row",), rows),
    Rule("rows", "cumsum({0})", "torch.cumsum({0}, -1)", ("row",), same),
    Rule("rows", "cumsum({0}, reverse=True)", "{0}.flip(-1).cumsum(-1).flip(-1)", ("row",), same),
    Rule("rows", "entry({0}, {1})", "{0}[{1}]", ("row", "index"), lambda a, k: (*k, *a[1:])),
    Rule(
        "rows",
        "log_softmax_entry({0}, {1})",
        "torch.log_softmax({0}, -1)[{1}]",
        ("vector", "class"),
        number,
    ),
)
PRODUCTS = (
    Rule("products", "{0} + {1}", "{0} + {1}", ("any", "like"), same),
    Rule("products", "{0} - {1}", "{0} - {1}", ("any", "like"), same),
    Rule("products", "{0} * {1}", "{0} * {1}", ("any", "like"), same),
    Rule("products", "{0} / {1}", "{0} / {1}", ("any", "positive like"), same),
    Rule("products", "inner({0}, {1})", "({0} * {1}).sum()", ("any", "like"), number),
    Rule("products", "norm({0})", "torch.sqrt(noisy(({0} * {0}).sum()))", ("any",), number),
    Rule("products", "norm({0}) ** 2", "({0} * {0}).sum()", ("any",), number),
    Rule("products", "expectation({1}, {0})", "({0} * {1}).sum()", ("any", "positive like"),
         number),
    Rule("products", "total_sum({0})", "{0}.sum()", ("any",), number),
    Rule("products", "mean({0})", "{0}.mean()", ("any",), number),
    Rule("products", "scale({0}, {1})", "{0} * {1}", ("scalar", "any"), lambda a, b: b),
    Rule(
        "products",
        "broadcast({0}, R({n}, {m}))",
        "{0} * torch.ones({n}, {m}, dtype={0}.dtype)",
        ("scalar", "sizes"),
        lambda a, b: b,
    ),
    Rule(
        "products",
        "outer({0}, {1})",
        "torch.tensordot({0}, {1}, 0)",
        ("vector", "vector"),
        lambda a, b: (*a, *b),
    ),
    Rule("products", "{1} @ {0}", "torch.tensordot({1}, {0}, {0}.ndim)", ("any", "hom"),
         lambda a, b: b[: len(b) - len(a)]),
    Rule(
        "products",
        "{2} @ ({0}, {1})",
        "{2}[0] @ {0} + {2}[1] @ {1}",
        ("vector", "vector", "hom of pair"),
        lambda a, b, c: c,
    ),
)  # fmt: skip
FORMS = (
    Rule("forms", "transpose({0})", "{0}.T", ("matrix",), lambda a: a[::-1]),
    Rule("forms", "vec({0})", "{0}.reshape(-1)", ("row",), lambda a: (sympy.Mul(*a),)),
    Rule("forms", "{0}[1]", "{0}[1]", ("cut",), lambda a: a[1:]),
    Rule("forms", 'form("trace", A=(i, i))({0})', "torch.diagonal({0}).sum()", ("square",), number),
    Rule("forms", 'form("diagonal", A=(i, i), to=(i,))({0})', "torch.diagonal({0})", ("square",),
         lambda a: a[:1]),
    Rule("forms", 'form("rows", A=(i, j), to=(i,))({0})', "{0}.sum(1)", ("matrix",), rows),
    Rule("forms", 'form("columns", A=(i, j), to=(j,))({0})', "{0}.sum(0)", ("matrix",),
         lambda a: a[1:]),
    Rule("forms", 'form("flip", x=({a0} - 1 - i,), to=(i,), ranges={{i: {a0}}})({0})',
         "torch.flip({0}, (0,))", ("vector",), same),
    Rule("forms", 'form("shift", x=(i + 1,), to=(i,), ranges={{i: {a0}}})({0})',
         "torch.cat([{0}[1:], 0 * {0}[:1]])", ("vector",), same),
    Rule("forms", 'form("second", x=(2*i,), to=(i,), ranges={{i: {a0}}})({0})',
         "torch.cat([{0}[::2], 0 * {0}[: {0}.shape[0] // 2]])", ("vector",), same),
    Rule("forms", 'form("stretch", x=(i,), to=(2*i,), shape=(2*({a0}),))({0})',
         "torch.stack([{0}, 0 * {0}], 1).reshape(-1)", ("vector",), lambda a: (2 * a[0],)),
    Rule("forms", 'form("product", A=(i, j), B=(j, h), to=(i, h))({0}, {1})', "{0} @ {1}",
         ("matrix", "next matrix"), lambda a, b: (a[0], b[1])),
    Rule("forms", 'form("bilinear", A=(i, j), x=(i,), y=(j,))({0}, {1}, {2})',
         "{1} @ {0} @ {2}", ("matrix", "like rows", "like columns"), number),
    Rule("forms", 'form("cube", x=(i,), y=(i,), z=(i,), to=(i,))({0}, {1}, {2})',
         "{0} * {1} * {2}", ("vector", "like", "like"), same),
    Rule("forms", 'form("spread", x=(i,), to=(i, j), ranges={{j: {n}}})({0})',
         "{0}[:, None] * torch.ones({n}, dtype={0}.dtype)", ("vector", "sizes"),
         lambda a, b: (a[0], b[0])),
    Rule("forms", 'form("beyond", x=(i,), to=(), ranges={{i: {a0} + 1}})({0})', "{0}.sum()",
         ("vector",), number),
    Rule("forms", 'form("before", x=(i - 1,), to=(i,), ranges={{i: {a0} + 2}})({0})',
         "torch.nn.functional.pad({0}, (1, 1))", ("vector",), lambda a: (a[0] + 2,)),
    Rule("head", 'form("head", x=(i,), to=(i,), ranges={{i: 2}})({0})', "{0}[:2]", ("vector",),
         lambda a: (sympy.Integer(2),)),
    Rule("no operands", '{0} + form("eye", to=(i, i), ranges={{i: {a0}}})()',
         "{0} + torch.eye({a0}, dtype={0}.dtype)", ("square",), same),
    Rule("no operands", 'scale({0}, form("ones", to=(i,), ranges={{i: {n}}})())',
         "{0} * torch.ones({n}, dtype={0}.dtype)", ("scalar", "sizes"), lambda a, b: b[:1]),
)  # fmt: skip

TENSORDOT = "torch.tensordot({1}, {0}, {0}.ndim)"
NETWORKS = (
    Rule("networks", "{0} + {1}", "{0} + {1}", ("any", "new like"), same),
    *(
        Rule("networks", text.format("({1} @ {0})"), oracle.format(TENSORDOT),
             ("any", "endomorphism"), same)
        for text, oracle in (
            ("{} + {{0}}", "{} + {{0}}"),
            ("tanh{} + {{0}}", "torch.tanh({}) + {{0}}"),
            ("sigmoid{} * {{0}}", "torch.sigmoid({}) * {{0}}"),
            ("{{0}} - relu{}", "{{0}} - torch.relu({})"),
        )
    ),
)  # fmt: skip


def _windowed(length: int) -> Callable[..., Shape]:
    """The channels of the first operand, and axes that are `length` shorter."""
    return lambda a, *others: (a[0], *(extent - length for extent in a[1:]))


def _filtered(a: Shape, b: Shape) -> Shape:
    """Windows of the filters' size, stride 1: R(c, l), R(o, c, p) to R(o, l - p + 1)."""
    return (b[0], *(extent - p + 1 for extent, p in zip(a[1:], b[2:], strict=True)))


def _strided(a: Shape, b: Shape) -> Shape:
    """Stride 2 and padding 1."""
    pairs = zip(a[1:], b[2:], strict=True)
    return (b[0], *((extent + 2 - p) // 2 + 1 for extent, p in pairs))


def _widened(a: Shape, b: Shape) -> Shape:
    """The transposed convolution of stride 2: R(o, l), R(o, c, p) to R(c, 2 (l - 1) + p)."""
    return (b[1], *(2 * (extent - 1) + p for extent, p in zip(a[1:], b[2:], strict=True)))


def _halved(a: Shape) -> Shape:
    return (a[0], *(extent // 2 for extent in a[1:]))


IMAGES = (
    Rule("images", "convolution({1}, {0})", "torch.conv1d({0}[None], {1})[0]",
         ("signal", "filters"), _filtered),
    Rule("images", "convolution({1}, {0}, stride=2, padding=1)",
         "torch.conv1d({0}[None], {1}, None, 2, 1)[0]", ("signal", "filters"), _strided),
    Rule("images", "transposed_convolution({1}, {0}, stride=2)",
         "torch.conv_transpose1d({0}[None], {1}, None, 2)[0]", ("signal", "filters back"),
         _widened),
    Rule("images", "convolution({1}, {0})", "torch.conv2d({0}[None], {1})[0]",
         ("image", "filters"), _filtered),
    Rule("images", "max_pool({0}, 2)", "torch.max_pool2d({0}[None], 2)[0]", ("image",), _halved),
    Rule("images", "max_pool({0}, 2, stride=1)", "torch.max_pool1d({0}[None], 2, 1)[0]",
         ("signal",), _windowed(1)),
    Rule("images", "average_pool({0}, 2)", "torch.nn.functional.avg_pool2d({0}[None], 2)[0]",
         ("image",), _halved),
    Rule("images", "average_pool({0}, 3, stride=1, padding=1)",
         "torch.nn.functional.avg_pool1d({0}[None], 3, 1, 1)[0]", ("signal",), same),
    Rule("images", "average_pool({0}, 3, stride=1, padding=1, count_padding=False)",
         "torch.nn.functional.avg_pool1d({0}[None], 3, 1, 1, False, False)[0]", ("signal",), same),
    Rule("images", "crop({0}, (1,), ({a1} - 2,))", "{0}[:, 1:-1]", ("signal",), _windowed(2)),
    Rule("images", "embed({0}, (1,), ({a1} + 3,))", "torch.nn.functional.pad({0}, (1, 2))",
         ("signal",), _windowed(-3)),
    Rule("images", "{0} + per_channel({1}, R({a0}, {a1}))", "{0} + {1}[:, None]",
         ("signal", "like rows"), same),
)  # fmt: skip

# Both texts of a number, and its kind: a literal that is no small fraction, or an ordinary one.
COEFFICIENTS: tuple[tuple[str, Any, Any], ...] = (
    *(("entrywise", text, text) for text in ("2", "-1", "0.5", "n", "1", "-3")),
    *(("large numbers", text, text) for text in ("1/3", "1e-10", "1.0507009873554805", "0.1")),
    *(("large numbers", text, text) for text in ("3e300", "2**40", "1e-300", "-1e15 / 7")),
    ("entrywise", "1/sympy.sqrt(m)", "m**-0.5"),
    ("entrywise", "sympy.Rational(-7, 11)", "(-7/11)"),
    ("entrywise", "sympy.pi", "3.141592653589793"),
    ("large numbers", "sympy.Rational(10**20 + 1, 3)", "((10**20 + 1)/3)"),
    ("large numbers", "sympy.Rational(1, 10**20)", "1e-20"),
    ("large numbers", "sympy.sqrt(2) / 10**12", "(2**0.5 / 10**12)"),
)
GROUPS = (ENTRYWISE, ENTRYWISE, NUMBERS, ZEROS, ROWS, PRODUCTS, PRODUCTS, FORMS, FORMS, IMAGES,
          NETWORKS)  # fmt: skip
