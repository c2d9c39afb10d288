"""Target languages are complete: every phrase and every kind of statement is printed in each."""

import os
import re
import subprocess
import sys
from inspect import isabstract
from pathlib import Path

import pytest
from declared import LAYERS
from kernels import kernels_of

from derive.kernels.printing import views
from derive.kernels.printing.c.target import C
from derive.kernels.printing.cython.target import CYTHON, Cython
from derive.kernels.printing.target import Target
from derive.kernels.statements.instances import instances
from derive.kernels.statements.loops import Commented, For, Gemm, Statement
from derive.language.template_texts import templates

TARGETS = (CYTHON, C("float64"))
PHRASES = sorted(Target.__abstractmethods__)


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_target_that_lacks_a_phrase_can_not_be_made(phrase):
    without = type("Without", (Cython,), {phrase: getattr(Target, phrase)})
    assert isabstract(without)
    with pytest.raises(TypeError, match=phrase):
        without()


def test_every_target_is_among_those_tested():
    folders = {name.partition("/")[0] for name in templates() if "/" in name}
    assert folders == {target.folder for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.folder)
def test_the_templates_of_a_target_have_a_branch_for_every_statement(target):
    kinds = {kind.__name__ for kind in views._view.registry if issubclass(kind, Statement)}
    kinds = kinds - {"Statement"} | {"GuardedStore"}
    text = templates()[f"{target.folder}/statements.j2"]
    branches = re.findall(r's\.kind == "(\w+)"', text)
    assert set(branches) == kinds and len(branches) == len(kinds)


# --- comments


def shown(formula):
    """The letters of the indices in a formula: those of sums, and plain ones of results."""
    letters = {x for found in re.findall(r"sum_\{([^}]*)\}", formula) for x in found.split(",")}
    results = re.findall(r"-> \[([^\]]*)\]", formula)
    entries = {x for found in results for x in found.split(", ")}
    return letters, {entry for entry in entries if entry.isidentifier()}


@pytest.mark.parametrize("name", LAYERS)
def test_a_comment_has_the_letters_of_the_loops_below_and_of_no_size(name):
    """A matrix product has no loops of its own; its comment has names that nothing else has."""
    for kernel in kernels_of(LAYERS[name]).values():
        sizes = {str(size) for size in kernel.sizes}
        selectors = {b.name for group in kernel.arguments for b in group if b.kind == "index"}
        for step in instances(kernel.steps, Commented):
            loops = {str(loop.index) for loop in instances(step, For)}
            product = bool(list(instances(step, Gemm)))
            for formula in step.formulas:
                summed, results = shown(formula)
                assert not (summed | results) & sizes, formula
                assert product or results - selectors <= loops, formula


LINES = """
import sys
sys.path.insert(0, {tests!r})
from recurrent_cells import influence_of
from derive.kernels.lowering.lower import lower
for name in ("another_full", "uneven_rnn"):
    for line in lower(influence_of(name).forward()).lines:
        print(line)
"""


def test_comments_are_the_same_under_every_hash_seed():
    """Of steps of RTRL, whose sums come from sets of indices; `test_emit` compares modules."""
    program = LINES.format(tests=str(Path(__file__).resolve().parent))
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1 and "sum_{" in printed.pop()
