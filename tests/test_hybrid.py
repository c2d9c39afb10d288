"""The blocks of the hybrid against products of dense matrices, a matrix for each sample.

D f_j and nabla f_j of each step are complex steps of the cell: neither the calculus nor RTRL has a
part in what is expected, Lambda_j = D f_K .. D f_{j+1} and the influence at the block's end
J_K = Lambda_0 . J_0 + sum_j Lambda_j . nabla f_j  (thesis lemmas 5.1.4 and 5.1.6).
"""

from functools import cache

import numpy as np
import pytest
import sympy
from recurrent_cells import CELLS, ROWS, Values, flat_of, hybrid_of, run
from unrolled import Unrolled, by_sample, complex_step, relative, stacked, unpack

from derive import dims
from derive.calculus.terms import shape_of
from derive.kernels.lowering.cost import count
from derive.kernels.lowering.lower import lower
from derive.models.programs import BATCH
from derive.recurrence.blocks import StoredJacobian
from derive.recurrence.hybrid import TIMES, Hybrid

BEFORE = 2  # steps by RTRL, so that J is full at the block's start
BLOCK = 3
# Products of at most 4 matrices of norm below 10, whose entries cancel by less than a factor 100;
# complex steps are exact to some eps.
EXACT = 1e-13
n, m = dims("n m")
cells = pytest.mark.parametrize("name", CELLS)


class Block(Unrolled):
    """A block of steps behind some of RTRL: one sample is reset in it, one ends."""

    def __init__(self, name: str, initial: str = "fixed") -> None:
        super().__init__(name, initial, BEFORE + BLOCK)
        self.hybrid: Hybrid = hybrid_of(name, initial)
        self.begun = self.carried(self.start(), self.given[:BEFORE])
        self.steps = self.given[BEFORE:]
        self.states_before = [self.begun]
        for given in self.steps:
            self.states_before.append(self.carried(self.states_before[-1], [given]))

    # --- dense

    def of_step(self, j: int, x) -> np.ndarray:
        """D f or nabla f of a step of the block, by x."""
        self.values[self.t.h.name] = self.states_before[j][self.t.h.name]
        return self.derivative(x, complex_step, [self.steps[j]])

    def lambdas(self) -> list[np.ndarray]:
        """Lambda_0, .., Lambda_K, the last one the identity."""
        width = flat_of(self.begun[self.t.h.name], ROWS).shape[1]
        found = [np.stack([np.eye(width)] * ROWS)]
        for j in reversed(range(BLOCK)):
            found.append(found[-1] @ self.of_step(j, self.t.h))
        return found[::-1]

    # --- by the programs

    def down(self) -> tuple[list[Values], dict[str, list]]:
        """The arrays of Lambda from the block's end down, and what is kept for each step."""
        lemma, t = self.hybrid, self.t
        now = run(lemma.start(), {}, self.sizes)
        found, kept = [now], []
        for j in reversed(range(BLOCK)):
            given = {**self.values, **self.steps[j], t.h.name: self.states_before[j][t.h.name]}
            given |= run(t.forward(saving=True), given, self.sizes)
            results = run(lemma.backward(), {**given, **now}, self.sizes)
            kept.append({**given, **results})
            now = {s.variable.name: results[lemma.before[key]] for key, s in lemma.stores.items()}
            now[lemma.linked.name] = results[lemma.linked_before]
            found.append(now)
        kept.reverse()
        names = lemma.source_of.values()
        return found[::-1], {name: [each[name] for each in kept] for name in names}

    def dense_lambda(self, values: Values) -> np.ndarray:
        """Lambda out of its arrays: (sample, state, state)."""
        h = self.influence.step.h
        rows = []
        for a in range(len(h)):
            blocks = [self._lambda_block(values, a, b) for b in range(len(h))]
            rows.append(np.concatenate(blocks, axis=2))
        return np.concatenate(rows, axis=1)

    def _lambda_block(self, values: Values, a: int, b: int) -> np.ndarray:
        h, s = self.influence.step.h, self.hybrid.stores.get((a, b))
        found = np.zeros((*self.shape(h[a]), *self.shape(h[b])))
        if s is not None:
            unpack(found, values[s.variable.name], s, len(shape_of(h[a])))
        return by_sample(found, len(shape_of(h[a])), True)

    def end(self) -> Values:
        """The arrays of J at the block's end."""
        lemma = self.hybrid
        lambdas, kept = self.down()
        stacks = {x.name: stacked(kept[source]) for x, source in lemma.source_of.items()}
        sizes = {**self.sizes, TIMES: BLOCK}
        found = run(lemma.end(), {**self.values, **self.begun, **lambdas[0], **stacks}, sizes)
        return {s.variable.name: found[self.influence.next[s]] for s in self.influence.stores}


@cache
def block_of(name: str, initial: str = "fixed") -> Block:
    return Block(name, initial)


# --- the laws


@cells
def test_lambda_is_the_product_of_the_steps_down_from_the_end(name: str) -> None:
    """Lambda_{j-1} = Lambda_j . D f_j from the identity on (lemma 5.1.4)."""
    at = block_of(name)
    found, expected = at.down()[0], at.lambdas()
    assert np.array_equal(at.dense_lambda(found[-1]), expected[-1])
    for by_programs, dense in zip(found[:-1], expected[:-1], strict=True):
        assert relative(at.dense_lambda(by_programs), dense) < EXACT


@cells
def test_the_influence_at_the_end_of_a_block(name: str) -> None:
    """J_K = Lambda_0 . J_0 + sum_j Lambda_j . nabla f_j (lemma 5.1.6), by every parameter."""
    at = block_of(name)
    found, lambdas = at.end(), at.lambdas()
    for x in at.t.parameters:
        expected = lambdas[0] @ at.full(at.begun, x)
        expected = expected + sum(lambdas[j + 1] @ at.of_step(j, x) for j in range(BLOCK))
        assert relative(at.full(found, x), expected) < EXACT, x.name


@cells
def test_the_influence_of_a_learned_initial_state_at_the_end_of_a_block(name: str) -> None:
    """The same by the initial state, from which a reset begins anew."""
    at = block_of(name, "learned")
    found, lambdas, x = at.end(), at.lambdas(), at.t.initial
    expected = lambdas[0] @ at.full(at.begun, x)
    expected = expected + sum(lambdas[j + 1] @ at.of_step(j, x) for j in range(BLOCK))
    assert relative(at.full(found, x), expected) < EXACT


# --- what is stored


def shapes(name: str) -> dict[tuple[int, int], tuple[str, ...]]:
    """The shape of every block of Lambda without the batch."""
    stores: dict[tuple[int, int], StoredJacobian] = hybrid_of(name).stores
    return {key: tuple(map(str, shape_of(s.variable)[1:])) for key, s in stores.items()}


def test_lambda_is_as_compressed_as_the_cell() -> None:
    assert shapes("vanilla_rnn") == {(0, 0): ("n", "n")}
    assert shapes("independent_rnn") == {(0, 0): ("n",)}
    assert shapes("rotation_rnn") == {(a, b): ("n",) for a in (0, 1) for b in (0, 1)}
    assert shapes("columns_rnn") == {(0, 0): ("n", "p", "n")}


def test_the_blocks_of_what_lies_above_are_not_there() -> None:
    """No state below sees one above: Lambda is block-triangular."""
    assert set(shapes("deep_rnn")) == {(0, 0), (1, 0), (1, 1)}
    assert shapes("deep_rnn")[1, 0] == ("upper_n", "n")


def test_factors_of_the_forward_pass_are_not_kept_again() -> None:
    """Lambda_j diag(d_j) (x) [h; x; 1]: only the first factor is new, the states are there."""
    lemma = hybrid_of("vanilla_rnn")
    assert [str(x.space) for x in lemma.factors.values()] == ["R(batch, n, n)"]
    t = lemma.transition
    (own,) = lemma.factors.values()
    (saved,) = (x.name for x in t.saved.values() if x.name in lemma.source_of.values())
    assert set(lemma.source_of.values()) == {own.name, saved, "x", lemma.linking.name}


# --- flops per sample, p = n + m + 1

p = n + m + 1
BACKWARD = {"vanilla_rnn": 2, "lstm": 8, "gru": 2, "gru_reset_before": 6}  # times n^3
END = {  # the sum over the times, for each of them; then Lambda . J once
    "vanilla_rnn": (2 * n**2 * p, 2 * n**3 * p),
    "lstm": (16 * n**2 * p, 32 * n**3 * p),
    "gru": (6 * n**2 * p + 2 * n**2, 6 * n**3 * p + 2 * n**3),  # with a bias inside the reset
    "gru_reset_before": (6 * n**2 * p, 6 * n**3 * p),
}


def flops(program) -> sympy.Poly:
    """The flops of a program per sample in n, m and the times."""
    return sympy.Poly(sympy.expand(count(lower(program))[0] / BATCH), n, m, TIMES)


def leading(polynomial: sympy.Poly, degree: int) -> dict:
    """The terms of that degree in n and m."""
    return {power: number for power, number in polynomial.terms() if sum(power[:2]) == degree}


@pytest.mark.parametrize("name", BACKWARD)
def test_flops_of_a_step_down(name: str) -> None:
    """Of degree three there is nothing but the products of n x n matrices."""
    found = flops(hybrid_of(name).backward())
    assert leading(found, 3) == {(3, 0, 0): BACKWARD[name]} and found.total_degree() == 3


@pytest.mark.parametrize("name", END)
def test_flops_of_the_end_of_a_block(name: str) -> None:
    """A row of the bias is summed without a product, so its n^2 are half of what is expected."""
    each, once = (sympy.Poly(sympy.expand(e), n, m, TIMES) for e in END[name])
    found = flops(hybrid_of(name).end())
    over_times = sympy.Poly(found.as_expr().coeff(TIMES, 1), n, m, TIMES)
    at_last = sympy.Poly(found.as_expr().coeff(TIMES, 0), n, m, TIMES)
    assert leading(over_times, 3) == leading(each, 3) and over_times.total_degree() == 3
    assert leading(at_last, 4) == leading(once, 4) and leading(at_last, 3) == leading(once, 3)
    assert at_last.total_degree() == 4
    bias = leading(each, 2)[2, 0, 0]
    assert leading(over_times, 2) == {(2, 0, 0): bias / 2}
