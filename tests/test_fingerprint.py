"""A layer's fingerprint: one for each declaration, the same in every process, linear in depth."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import sympy
from cached import power

from derive import (
    Gram,
    Hom,
    Index,
    Layer,
    Mask,
    R,
    dims,
    entry,
    fixed,
    form,
    indices,
    layer,
    network,
    recurrent,
    tanh,
    with_fixed,
    with_shared,
    with_sizes,
)
from derive.language.expressions import (
    Gradient,
    Node,
    Tuple,
    Variable,
    elementwise,
    held,
    potential,
)
from derive.language.scalars.declaring import operation
from derive.library import layers
from derive.library.dense import affine, dense
from derive.library.losses import cross_entropy_index, squared_loss
from derive.library.rnn import readout, vanilla_rnn
from derive.tools import fingerprint as module
from derive.tools.fingerprint import code_fingerprint, fingerprint, loaded_code

n, m, k = dims("n m k")
i, j = indices("i j")
W, B = Hom(R(m), R(n)), R(n)
G, H = (R(n, gram=Gram(name)) for name in "GH")


def f(output: Callable[..., Node] | None = None, name: str = "f", doc: str = "", **roles: Any):
    """f(x; W, b) = tanh(W x + b) but for what is given."""
    spaces = {"state": {"x": R(m)}, "parameters": {"W": W, "b": B}} | roles
    return Layer.of(name, **spaces, output=output or (lambda x, W, b: tanh(W @ x + b)), doc=doc)


DECLARED = {
    "as it is": f(),
    "its name": f(name="g"),
    "its words": f(doc="f"),
    "a coefficient": f(lambda x, W, b: tanh(W @ x + 2 * b)),
    "another coefficient": f(lambda x, W, b: tanh(W @ x + sympy.Rational(1, 2) * b)),
    "the order of a sum": f(lambda x, W, b: tanh(b + W @ x)),
    "a number added": f(lambda x, W, b: tanh(W @ x + b) + 1),
    "another number": f(lambda x, W, b: tanh(W @ x + b) + 2),
    "no operation": f(lambda x, W, b: W @ x + b),
    "no derivative": f(lambda x, W, b: held(tanh(W @ x + b))),
    "the order of arguments": f(parameters={"b": B, "W": W}),
    "a state more": f(state={"x": R(m), "b": B}, parameters={"W": W}),
    "a given": f(given={"b": B}, parameters={"W": W}),
    "a mask": f(given={"b": Mask(B)}, parameters={"W": W}),
    "a fixed": f(fixed={"b": B}, parameters={"W": W}),
    "an argument's name": f(lambda x, W, c: tanh(W @ x + c), parameters={"W": W, "c": B}),
    "a number for a size": with_sizes(f(), {"n": 3}),
    "another number for it": with_sizes(f(), {"n": 4}),
    "a size's name": with_sizes(f(), {"n": k}),
    "one size for two": with_sizes(f(), {"n": m}),
    "a Gram matrix": f(parameters={"W": Hom(R(m), G), "b": G}),
    "another Gram matrix": f(parameters={"W": Hom(R(m), H), "b": H}),
    "a local's name": replace(f(), names={f().output.operands[0]: "z"}),
    "another name for it": replace(f(), names={f().output.operands[0]: "s"}),
    "a name for another": replace(f(), names={f().output: "z"}),
}


def bent(
    formula: Callable[..., sympy.Expr] = lambda t: sympy.log(1 + t**2),
    name: str = "bent",
    **more: Any,
) -> Layer:
    """A layer of an operation of the user's own."""
    psi = operation(name, formula, **more)
    return Layer.of("f", state={"x": R(n)}, output=lambda x: elementwise(psi, x))


OPERATIONS = {
    "as it is": bent(),
    "its formula": bent(lambda t: sympy.log(2 + t**2)),
    "its name": bent(name="curved"),
    "its symbol": bent(lambda s: sympy.log(1 + s**2)),
    "a stable form": bent(stable=lambda t: 2 * sympy.log(sympy.sqrt(1 + t**2))),
    "a derivative": bent(derivatives={1: lambda t: 2 * t / (1 + t**2)}),
    "another form of it": bent(derivatives={1: lambda t: 2 / (t + 1 / t)}),
    "the second derivative": bent(derivatives={2: lambda t: 2 * t / (1 + t**2)}),
    "a number": bent(lambda t: sympy.log(1 + t**2) * sympy.Float("0.1", 15)),
    "its digits": bent(lambda t: sympy.log(1 + t**2) * sympy.Float("0.1", 20)),
}


def formed(a: Any = (i, j), b: Any = (j,), to: Any = (i,), **more: Any) -> Layer:
    made = form("product", A=a, x=b, to=to, **more)
    return Layer.of("f", state={"A": R(n, n), "x": R(n)}, output=lambda A, x: made(A, x))


FORMS = {
    "as it is": formed(),
    "the other axis": formed((j, i)),
    "a step aside": formed((i, j + 1), (j,)),
    "two steps aside": formed((i, j + 2), (j,)),
    "a part of an axis": formed(ranges={j: 2}),
    "a part of another length": formed(ranges={j: 3}),
    "a part of the result": formed(ranges={i: 2}),
}


def looked_up(bound: Any, *shape: Any) -> Layer:
    return f(
        lambda x, c, E: entry(E, c),
        given={"c": Index(bound, *shape)},
        parameters={"E": R(bound, n)},
    )


CLASSES = {
    "as it is": looked_up(m),
    "another bound": looked_up(k),
    "a number": looked_up(5),
    "several": looked_up(m, k),
}


def two(**layers: Layer) -> Any:
    return network("f", **layers)


def over_time(**more: Any) -> Any:
    return recurrent("f", vanilla_rnn, prediction=readout, **more)


NETWORKS = {
    "as it is": two(hidden=dense, output=affine),
    "a label": two(inner=dense, output=affine),
    "a layer": two(hidden=dense, output=dense),
    "a loss": two(hidden=dense, output=affine).with_loss(squared_loss),
    "another loss": two(hidden=dense, output=affine).with_loss(cross_entropy_index),
    "something fixed": with_fixed(two(hidden=dense, output=affine), "hidden_b"),
    "something shared": with_shared(
        two(hidden=dense, next=dense, output=affine), output_b=lambda next_b: next_b
    ),
    "over time": over_time(),
    "with a loss": over_time(loss=squared_loss),
    "a learned start": over_time(loss=squared_loss, initial="learned"),
}


@pytest.mark.parametrize("family", [DECLARED, OPERATIONS, FORMS, CLASSES, NETWORKS, layers()])
def test_declarations_that_differ_in_anything_differ(family: dict[str, Layer]) -> None:
    found = {name: fingerprint(made) for name, made in family.items()}
    assert None not in found.values()
    for (one, its), (other, others) in combinations(found.items(), 2):
        assert its != others, f"{one}, {other}"


def test_equal_expressions_that_are_two_objects_are_not_one() -> None:
    """Who computes them does it twice."""
    x, y = Variable(R(n), "x"), Variable(R(n), "x")
    assert len(module._table(Tuple(x.space * x.space, (x, x)))) == 5
    assert len(module._table(Tuple(x.space * x.space, (x, y)))) == 6


def declared_again() -> list[str | None]:
    """Fingerprints of every kind, of declarations made here."""
    return [
        *(fingerprint(made) for made in layers().values()),
        *(fingerprint(made) for made in OPERATIONS.values()),
        *(fingerprint(made) for made in FORMS.values()),
    ]


@pytest.mark.parametrize("seed", ["0", "17"])
def test_a_declaration_has_one_in_every_process(seed: str) -> None:
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": seed}
    program = "import test_fingerprint as t; print(t.declared_again(), t.code_fingerprint())"
    done = subprocess.run([sys.executable, "-c", program], env=here, capture_output=True, text=True)
    assert done.stdout.strip() == f"{declared_again()} {code_fingerprint()}", done.stderr


def test_where_it_was_declared_and_what_latex_calls_its_forms_is_not_in_it() -> None:
    @layer
    def g(x: R(m), *, W: W, y: fixed(B)) -> B:
        return W @ x + y

    assert fingerprint(replace(g, place=None)) == fingerprint(g)
    assert fingerprint(pickle.loads(pickle.dumps(g))) == fingerprint(g)


class Own(Layer):
    """A class of the user's own, which may mean something else by the same fields."""


def test_what_is_not_the_packages_own_has_none() -> None:
    made = power(2)
    assert fingerprint(Own(made.name, made.arguments, made.output)) is None
    x = made.arguments[0].variable
    s = potential(
        elementwise(operation("own", lambda t: t**3), x), x, Gradient("own", lambda x, s: s)
    )
    assert fingerprint(Layer("f", made.arguments, s)) is None


def test_another_code_has_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = code_fingerprint()
    assert first == code_fingerprint() == loaded_code()
    (tmp_path / "one.py").write_text("a = 1\n")
    monkeypatch.setattr(module, "PACKAGE", tmp_path)
    monkeypatch.setattr(module, "_begun", time.time() + 60)
    found = [code_fingerprint()]
    for name, text in (("one.py", "a = 2\n"), ("two.py", ""), ("two.py", "two.py\n0\n")):
        (tmp_path / name).write_text(text)
        found.append(code_fingerprint())
    assert len({first, *found}) == 5
    monkeypatch.setattr(module, "_begun", time.time() - 60)
    assert code_fingerprint() is None  # edited since it was loaded


def chain(depth: int) -> Node:
    """As many operations within each other, and as many sums."""
    x: Node = Variable(R(n), "x")
    for _ in range(depth):
        x = tanh(x) + 1
    return x


def test_its_time_is_linear_in_depth_and_nothing_recurs() -> None:
    seconds = {}
    for depth in (1_000, 10_000):
        output = chain(depth)
        begin = time.process_time()
        lines = module._table(output)
        seconds[depth] = time.process_time() - begin
        assert 2 * depth < len(lines) < 2 * depth + 20
    assert seconds[10_000] < 20 * seconds[1_000]
