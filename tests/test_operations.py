"""psi: stable equals plain, derivatives are derivatives, kinks, NaN, and ulps in NumPy and C."""

import importlib.util
import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import mpmath as mp
import numpy as np
import pytest
import sympy

from derive.evidence.checks.accuracy import exactly, spacing
from derive.kernels.compiling.compile import compile_modules
from derive.kernels.compiling.modules import Module
from derive.kernels.printing.cython.target import CYTHON
from derive.kernels.printing.scalars import function_body
from derive.language.scalars.algebras import Arrays, Multiprecision
from derive.language.scalars.declaring import operation
from derive.language.scalars.fold import evaluate
from derive.language.scalars.operations import Operation, OperationError
from derive.language.scalars.scalars import FUNCTIONS
from derive.language.scalars.shipped import leaky, power, shipped

POSITIVE = {"log", "root", "share", "sqrt", "log1p", "log_expm1", "log1mexp"}
REACH = {"log_normal_cdf": 38}  # further out 1 + erf has more digits than 720 to cancel
FLOATS = {np.float64: 700.0, np.float32: 88.0}  # exp(x) is finite and normal or nearly so
swish = operation("swish", lambda t, beta: t / (1 + sympy.exp(-beta * t)))
mish = operation("mish", lambda t: t * sympy.tanh(sympy.log(1 + sympy.exp(t))))
clip = operation("clip", lambda t: sympy.Max(0, sympy.Min(1, t / 6 + sympy.Rational(1, 2))))
declared = {psi.name: psi for psi in (swish, mish, clip, power(sympy.Rational(-3, 2)))}
POSITIVE.add("power_minus_3_over_2")


def up_to_second_order(psi: Operation) -> list[Operation]:
    found = [psi]
    for _ in range(2):
        found += [f.derivative(k) for f in found for k in range(len(psi.arguments))]
    return list(dict.fromkeys(found))


EVERY = [f for psi in shipped.values() for f in up_to_second_order(psi)]
MORE = EVERY + [f for psi in declared.values() for f in up_to_second_order(psi)]
every = pytest.mark.parametrize("psi", EVERY, ids=[f.name for f in EVERY])
more = pytest.mark.parametrize("psi", MORE, ids=[f.name for f in MORE])


def points(psi: Operation, largest: float, dtype=np.float64, count: int = 30) -> list[np.ndarray]:
    """An array for each argument: large, moderate and tiny, of both signs where psi allows."""
    generator = np.random.default_rng(len(psi.base))
    columns = []
    reach = REACH.get(psi.base, largest)
    for _ in psi.arguments:
        sizes = (min(size, reach) for size in (largest, 40, 3))
        parts = [generator.uniform(-size, size, count) for size in sizes]
        parts.append(10.0 ** generator.uniform(-12, 0, count) * generator.choice([-1, 1], count))
        column = generator.permutation(np.concatenate(parts)).astype(dtype)
        columns.append(abs(column) if psi.base in POSITIVE else column)
    return columns


# --- stable equals plain; a derivative is a derivative


@more
def test_stable_is_plain(psi):
    """1 - tanh^2 has 608 digits of cancellation at 700, 1 + erf has 320 at -38 (then it is 0)."""
    for row in itertools.islice(zip(*points(psi, 700, count=15), strict=True), 60):
        plain, stable = (exactly(psi, e, row, 720) for e in (psi.body, psi.stable))
        assert abs(stable - plain) <= mp.mpf(10) ** -50 * abs(plain) + mp.mpf(10) ** -700


@more
def test_body_is_in_plain_functions(psi):
    circular = (sympy.sin, sympy.cos, sympy.sinh, sympy.cosh, sympy.atan, sympy.erfc)
    allowed = (sympy.exp, sympy.log, sympy.tanh, sympy.erf, sympy.Piecewise, *circular)
    assert all(isinstance(f, allowed) for f in psi.body.atoms(sympy.Function))


def derivatives(operations):
    return [(f, k) for f in operations if sum(f.orders) < 2 for k in range(len(f.arguments))]


@pytest.mark.parametrize(
    ("psi", "argument"), derivatives(MORE), ids=[f"{f.name}-{k}" for f, k in derivatives(MORE)]
)
def test_derivative_is_the_differential_quotient(psi, argument):
    """mpmath's difference is good to half its digits; kinks are no random points."""
    derived = psi.derivative(argument)
    orders = tuple(int(k == argument) for k in range(len(psi.arguments)))
    with mp.workdps(60):
        for row in itertools.islice(zip(*points(psi, 30, count=5), strict=True), 20):
            exact = [mp.mpf(float(x)) for x in row]

            def body(*at):
                return evaluate(
                    psi.body, dict(zip(psi.arguments, at, strict=True)), Multiprecision()
                )

            quotient = mp.diff(body, tuple(exact), orders)
            got = exactly(derived, derived.body, row, 60)
            assert abs(quotient - got) <= mp.mpf(10) ** -25 * (1 + abs(got))


def test_third_order_comes_from_sympy_and_does_not_overflow():
    third = shipped["sigmoid"].derivative().derivative().derivative()
    assert third.name == "sigmoid_d3"
    t = np.array([-800.0, -1.0, 0.0, 2.0, 800.0])
    exact = [float(exactly(third, third.body, [x], 800)) for x in t]
    np.testing.assert_allclose(third(t), exact, rtol=0, atol=8 * np.finfo(float).eps)


def test_mixed_derivatives_do_not_depend_on_the_order_of_differentiation():
    quotient = shipped["quotient"]
    assert quotient.derivative(0).derivative(1) == quotient.derivative(1).derivative(0)
    assert quotient.derivative(1).derivative(0).name == "quotient_d11"


def test_a_derivative_is_computed_once():
    assert shipped["gelu"].derivative() is shipped["gelu"].derivative()


def test_a_users_operation_of_a_shipped_name_has_its_own_derivative():
    other = operation("tanh", lambda t: t**2)
    assert other.derivative().body == 2 * other.arguments[0]


# --- kinks


KINKS = [
    ("relu", (0.0,), 0),
    ("leaky_relu", (0.0,), 0.01),
    ("elu", (0.0,), 1),
    ("absolute", (0.0,), 0),
]


@pytest.mark.parametrize(("name", "at", "slope"), KINKS, ids=[name for name, *_ in KINKS])
def test_the_derivative_at_a_kink(name, at, slope):
    psi = shipped[name]
    assert psi.kinks == psi.arguments and not psi.analytic
    assert psi.derivative()(*at) == slope


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_a_tie_takes_the_first_argument(name):
    psi = shipped[name]
    assert [float(psi.derivative(k)(2.0, 2.0)) for k in (0, 1)] == [1, 0]


def test_max_min_abs_sign_and_heaviside_of_a_user_follow_the_table():
    def at_zero(formula):
        return float(operation("f", formula).derivative()(0.0))

    assert at_zero(lambda t: sympy.Max(t, 0)) == 0
    assert at_zero(lambda t: sympy.Min(t, 0)) == 0
    assert at_zero(lambda t: sympy.Abs(t)) == 0
    assert at_zero(lambda t: t * sympy.Heaviside(t)) == 0
    assert at_zero(lambda t: t * sympy.Heaviside(t, 1)) == 1
    assert at_zero(lambda t: t * sympy.sign(t)) == 0
    assert float(operation("f", lambda t: sympy.sign(t))(0.0)) == 0
    tie = operation("f", lambda b, a: sympy.Max(a, b))  # SymPy sorts to Max(a, b)
    assert [float(tie.derivative(k)(2.0, 2.0)) for k in (0, 1)] == [1, 0]


def test_nested_kinks_are_all_found():
    (t,) = clip.arguments
    assert set(clip.kinks) == {t - 3, t + 3}
    assert clip(np.array([-4.0, 0.0, 4.0])).tolist() == [0, 0.5, 1]


def test_smooth_operations_have_no_kinks_and_are_analytic():
    smooth = set(shipped) - {"relu", "leaky_relu", "elu", "absolute", "maximum", "minimum"}
    smooth -= {"select", "share"}
    assert smooth == {name for name, psi in shipped.items() if psi.analytic and not psi.kinks}


def test_second_derivatives_that_vanish_are_known_to():
    zero = {psi.name for psi in EVERY if psi.is_zero}
    assert {"relu_d2", "leaky_relu_d2", "absolute_d2", "maximum_d11", "quotient_d20"} <= zero
    assert not {"elu_d2", "tanh_d2", "quotient_d11", "square_d2"} & zero
    assert shipped["square"].derivative().derivative().is_constant


# --- accuracy and NaN, in NumPy and in C


CIMPORTS = sorted({*FUNCTIONS.values(), "sqrt", "pow", "real"})
ADDRESSES = "size_t x, size_t y, size_t z"  # of at most three arguments


def emitted(psi: Operation) -> str:
    """psi on one number, and over arrays at addresses."""
    lets, result = function_body(psi.stable, psi.arguments, CYTHON)
    names = [x.name for x in psi.arguments]
    head = ", ".join(f"real {x}" for x in names)
    at = ", ".join(f"(<real*>{x})[i]" for x in "xyz"[: len(names)])
    lines = [f"cdef inline real one_{psi.name}({head}) noexcept nogil:"]
    lines += [f"    cdef real {name} = {text}" for name, text in lets]
    lines += [f"    return {result}", ""]
    lines += [f"cdef void all_{psi.name}({ADDRESSES}, real *out, Py_ssize_t n) noexcept:"]
    lines += ["    cdef Py_ssize_t i", "    for i in range(n):"]
    lines += [f"        out[i] = one_{psi.name}[real]({at})", ""]
    lines += [f"def run_{psi.name}({ADDRESSES}, size_t out, Py_ssize_t n, bint single):"]
    lines += [f"    if single: all_{psi.name}[float](x, y, z, <float*>out, n)"]
    lines += [f"    else: all_{psi.name}[double](x, y, z, <double*>out, n)", ""]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Every operation and order in one module, compiled with the project's flags."""
    source = tmp_path_factory.mktemp("operations") / "every_operation.pyx"
    head = f"from derive.runtime.elementary cimport {', '.join(CIMPORTS)}\n\n"
    source.write_text(head + "\n".join(emitted(psi) for psi in EVERY))
    (library,) = compile_modules([Module("every_operation", source)])
    spec = importlib.util.spec_from_file_location("every_operation", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_c(compiled, psi: Operation, columns) -> np.ndarray:
    out = np.empty_like(columns[0])
    addresses = [columns[min(k, len(columns) - 1)].ctypes.data for k in range(3)]
    getattr(compiled, f"run_{psi.name}")(
        *addresses, out.ctypes.data, out.size, out.dtype == np.float32
    )
    return out


BOUNDED = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "softplus", "gelu", "absolute")
BOUNDED += ("log_cosh", "log_normal_cdf", "sech", "erf", "erfc")


def errors(psi: Operation, columns, *computed) -> np.ndarray:
    """In ulp; for a bounded derivative, in eps of its largest absolute value."""
    dtype = computed[0].dtype.type
    rows = zip(*columns, strict=True)
    exact = [exactly(psi, psi.body, row, 400) for row in rows]  # 1 + erf cancels 330 digits
    units = [spacing(value, dtype) for value in exact]
    if sum(psi.orders) and psi.base in BOUNDED:
        largest = max(abs(value) for value in exact)
        units = [max(unit, float(np.finfo(dtype).eps) * largest) for unit in units]
    triples = [t for values in computed for t in zip(values, exact, units, strict=True)]
    return np.array([float(abs(mp.mpf(float(v)) - e) / unit) for v, e, unit in triples])


def sample(psi: Operation, dtype) -> list[np.ndarray]:
    """Points whose value is in the range of the dtype (1/t^3 leaves it at tiny t)."""
    columns = points(psi, FLOATS[dtype], dtype)
    exact = [abs(exactly(psi, psi.body, row, 20)) for row in zip(*columns, strict=True)]
    inside = np.array([value < float(np.finfo(dtype).max) / 2 for value in exact])
    return [np.ascontiguousarray(column[inside]) for column in columns]


@every
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
def test_within_4_ulp_in_numpy_and_in_c(compiled, psi, dtype):
    columns = sample(psi, dtype)
    values = psi(*columns)
    assert values.dtype == dtype
    assert errors(psi, columns, values, in_c(compiled, psi, columns)).max() <= 4


@pytest.mark.parametrize("name", ["sigmoid", "gelu", "softplus", "elu"])
def test_the_plain_formula_would_fail_that(name):
    """So the bound can tell: in the left tail these cancel or lose 1 + exp."""
    psi = shipped[name]
    columns = [np.linspace(-36, -1e-9, 50)]
    plain = evaluate(psi.body, {psi.arguments[0]: columns[0]}, Arrays())
    if name == "sigmoid":  # 1/(1 + exp(-t)) is accurate, 1 - 1/(1 + exp(t)) is not
        (t,) = psi.arguments
        plain = evaluate(1 - 1 / (1 + sympy.exp(t)), {t: columns[0]}, Arrays())
    assert errors(psi, columns, plain).max() > 1000


@every
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.__name__)
def test_a_nan_stays_a_nan(compiled, psi, dtype):
    selects = psi.linear and psi.stable.has(sympy.Piecewise)  # what is not taken may be a NaN
    selected_from = {psi.arguments[k] for k in psi.linear} if selects else set()
    for x in psi.stable.free_symbols - selected_from:
        columns = [np.full(9, np.nan if y == x else 0.5, dtype) for y in psi.arguments]
        assert np.isnan(psi(*columns)).all()
        assert np.isnan(in_c(compiled, psi, columns)).all()


@pytest.mark.parametrize("base", BOUNDED)
def test_at_infinity_there_is_a_limit_or_nan_and_never_a_wrong_number(compiled, base):
    """tanh, sigmoid, softplus, ReLU have their limits; a product 0 * inf may be NaN."""
    for psi in up_to_second_order(shipped[base]):
        columns = [np.array([-np.inf, np.inf])]
        far = psi(np.array([-1e6, 1e6]))
        for values in (psi(*columns), in_c(compiled, psi, columns)):
            wrong = ~np.isnan(values) & ~np.isinf(values) & (values != far)
            assert not wrong.any()


def test_the_normal_distribution_is_within_4_ulp_at_every_scale(compiled):
    """Where |t| Phi(t) is subnormal, too, and where the pieces of the approximation meet."""
    gelu = shipped["gelu"]
    generator = np.random.default_rng(7)
    cuts = [(-38.7, -36.5), (-36.5, -5), (-5, -0.7), (-0.8, 0.8), (0.7, 9), (-41, -39)]
    t = np.concatenate([generator.uniform(*cut, 60) for cut in cuts] + [[-0.75, 0.75, -37, -40]])
    assert errors(gelu, [t], gelu(t), in_c(compiled, gelu, [t])).max() <= 4
    ends = np.array([-np.inf, -1e300, 1e300, np.inf])
    for values in (gelu(ends), in_c(compiled, gelu, [ends])):
        assert values.tolist() == [0, 0, 1e300, np.inf]


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus"])
def test_first_derivatives_keep_their_relative_accuracy_in_the_tails(compiled, name):
    """1 - y^2 and y (1 - y) of the output y lose all of it at 20."""
    psi, t = shipped[name].derivative(), np.linspace(-340, 340, 151)
    with mp.workdps(400):
        exact = [exactly(psi, psi.body, [x], 400) for x in t]
    for values in (psi(t), in_c(compiled, psi, [t])):
        pairs = zip(values, exact, strict=True)
        assert max(abs(mp.mpf(float(v)) - e) / spacing(e, np.float64) for v, e in pairs) <= 4


# --- calls and errors


def test_values_broadcast_and_keep_the_dtype():
    quotient = shipped["quotient"]
    got = quotient(np.ones((3, 1), np.float32), np.full(4, 2, np.float32))
    assert got.shape == (3, 4) and got.dtype == np.float32 and (got == 0.5).all()
    second = shipped["square"].derivative().derivative()
    assert second(np.zeros((3, 4), np.float32)).tolist() == [[2] * 4] * 3


def test_names():
    names = [f.name for f in up_to_second_order(shipped["quotient"])]
    assert names == [f"quotient{d}" for d in ("", "_d10", "_d01", "_d20", "_d11", "_d02")]
    assert [f.name for f in up_to_second_order(shipped["tanh"])] == ["tanh", "tanh_d1", "tanh_d2"]
    assert all(name == psi.name == psi.base for name, psi in shipped.items())
    assert leaky(sympy.Rational(1, 5)).derivative()(-1.0) == 0.2


ERRORS = [
    (lambda: operation("1x", lambda t: t), "'1x': expected an identifier"),
    (lambda: operation("lambda", lambda t: t), "'lambda': expected an identifier"),
    (lambda: operation("f", lambda exp: exp), "argument is called 'exp'"),
    (lambda: operation("f", lambda: sympy.pi), "one or more distinct arguments"),
    (lambda: operation("f", lambda t: t * sympy.Symbol("w")), "formula has w, the arguments are t"),
    (lambda: operation("f", lambda t: sympy.gamma(t)), "f: gamma in .*known are"),
    (lambda: operation("f", lambda t: sympy.I * t), "real-valued"),
    (lambda: operation("f", lambda t: sympy.sqrt(-1 - t**2)), "real-valued"),
    (lambda: operation("f", lambda t: "t**2"), "got str 't\\*\\*2'"),
    (lambda: operation("f", "t**2"), "SymPy expression or a callable"),
    (lambda: operation("f", lambda t: t, derivatives={(0, 1): lambda t: t}), "one order for each"),
    (lambda: shipped["tanh"].derivative(1), "tanh: it has arguments 0 to 0, got 1"),
    (lambda: operation("f", lambda t: t, derivatives=[1]), r"f: expected derivatives .* got list"),
    (lambda: operation("f", lambda t: t, derivatives={"a": 1}), "f: derivatives are by .* got 'a'"),
    (lambda: operation("f", lambda t: t, stable="t"), "f: expected a SymPy .* got str 't'"),
    (
        lambda: operation("f", lambda t: sympy.Piecewise((t, t > 0))),
        r"f: no condition of a Piecewise holds at t = 0; give it a last branch \(value, True\)",
    ),
    (lambda: shipped["tanh"](1.0, 2.0), "tanh: expected 1 arguments, got 2"),
]


@pytest.mark.parametrize(("declare", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_errors_come_at_declaration_and_name_the_operation(declare, message):
    with pytest.raises(OperationError, match=message):
        declare()


def test_an_expression_with_its_arguments_declares_like_a_callable():
    t = sympy.Symbol("t")  # not declared real: the operation's argument is
    assert operation("f", sympy.Abs(t), arguments=[t]) == operation("f", lambda t: sympy.Abs(t))


def test_an_operation_is_made_when_it_is_asked_for_and_once():
    program = (
        "from derive import dims, R, tanh, variable\n"
        "from derive.language.scalars import shipped\n"
        "tanh(variable('x', R(dims('n'))))\n"
        "print('tanh' in shipped._made, {'gelu', 'elu', 'maximum'} & shipped._made.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True set()\n", done.stderr
    with ThreadPoolExecutor(8) as pool:
        assert len({id(psi) for psi in pool.map(lambda _: shipped["share"], range(64))}) == 1
