"""How long compile() takes where the kernels are in the cache, and how long deriving them does.

    .venv/bin/python benchmarks/warm_starts.py

CPU time of this process, the median of several runs; a declaration is made anew for every run.
The first run fills a cache of its own beside the user's, which takes minutes.
"""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from derive import Hom, Layer, R, Recurrent, cell, dims, layer, prove, recurrent, stack, tanh
from derive.kernels.printing.cython.emit import emit
from derive.library.convolution import convolutional
from derive.library.dense import dense
from derive.library.losses import squared_loss
from derive.library.networks import cnn, lstm_classifier, mlp
from derive.library.rnn import lstm
from derive.tools.cache_folder import place

n, m, k = dims("n m k")
CACHE = place().with_name("layerwise-benchmarks")
WARM = """
import time, sys; from importlib import import_module; from pathlib import Path
import sympy; begin = time.process_time()
home, name, cache = sys.argv[1:]
getattr(import_module(home), name).compile(cache=Path(cache))
print(time.process_time() - begin)
"""


@layer
def read(h: R(n), *, V: Hom(R(n), R(k)), c: R(k)) -> R(k):
    """The prediction of a stack: of the first component of its state."""
    return V @ h + c


@cell
def eight(
    h: R(n),
    x: R(m),
    *,
    W: Hom(R(n), R(n)),
    U: Hom(R(m), R(n)),
    b: R(n),
    V: Hom(R(n), R(n)),
    T: Hom(R(m), R(n)),
    c: R(n),
    a: R(n),
    d: R(n),
) -> R(n):
    """A cell with eight parameters: a product of two tanh, and a leak."""
    return a * tanh(W @ h + U @ x + b) * tanh(V @ h + T @ x + c) + d * h


def stacked(count: int) -> Recurrent:
    """A recurrent network of a stack of LSTM."""
    deep = stack("deep", **{f"at{number}": lstm for number in range(count)})
    first = Layer.of(
        "first",
        state={"s": deep.output.space},
        parameters={"V": Hom(R(n), R(k)), "c": R(k)},
        output=lambda s, V, c: read(s[0], V=V, c=c),
    )
    return recurrent(f"stack_of_{count}", deep, prediction=first, loss=squared_loss)


def seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median CPU time of some runs."""
    times = []
    for _ in range(runs):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return median(times)


def elsewhere(home: str, name: str) -> float:
    """In a new process: from the end of the import of SymPy to the kernels.

    The bytecode is kept, as that of an installed package is, whatever the environment says: to
    compile every module of the package anew takes longer than all else together.
    """
    run = [sys.executable, "-c", WARM, f"derive.library.{home}", name, str(CACHE)]
    kept = {**os.environ, "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.check_output(run, env=kept)
    return median(float(subprocess.check_output(run, env=kept)) for _ in range(5))


def row(what: str, found: float, wanted: float) -> None:
    print(f"{what:48} {found:9.3f} s   wanted {wanted:6.3f} s", flush=True)


def warm(made: Layer) -> float:
    """compile() of copies of a layer, its kernels in the cache."""
    made.compile(cache=CACHE)
    copies = [pickle.loads(pickle.dumps(made)) for _ in range(5)]
    return seconds(lambda: copies.pop().compile(cache=CACHE))


def main() -> None:
    """The table."""
    for made in (dense, convolutional, mlp, cnn, lstm_classifier):
        row(f"compile() in a warm process: {made.name}", warm(made), 0.020)
    for home, name in (("dense", "dense"), ("networks", "lstm_classifier")):
        row(f"the same in a new process, after SymPy: {name}", elsewhere(home, name), 0.3)
    row("deriving lstm_classifier", seconds(lambda: emit(lstm_classifier)), 1.5)
    for count in (2, 3):
        network = stacked(count)
        row(f"deriving a stack of {count} LSTM", seconds(partial(emit, network), 1), 1.5 * count)
    row("prove of a cell with 8 parameters", seconds(lambda: prove(eight), 1), 20.0)


if __name__ == "__main__":
    main()
