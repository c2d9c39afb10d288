"""Plain C: the functions of the second target compute what the Cython kernels compute."""

import ctypes
import importlib
import subprocess
from pathlib import Path

import numpy as np
import pytest
from kernels import DTYPES, ROUNDING, Runner, cast, kernels_of, point, relative, unequal

import derive
from derive import library
from derive.kernels.compiling.compiler import WARNINGS, find_compiler
from derive.kernels.printing.c.emit import emit_c
from derive.language.reference import flat_arrays, values_of
from derive.models.programs import BATCH

RUNTIME = Path(derive.__file__).parent / "runtime"
NAMES = ("dense", "dense_elu", "convolutional", "max_pooling", "lstm", "softmax_layer")
NAMES += ("cross_entropy_index",)
# A size that some kernel does not read is a parameter all the same.
FLAGS = (*WARNINGS, "-Werror", "-Wno-unused-parameter", "-std=c99", "-shared", "-fPIC")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """All layers as one shared library."""
    folder = tmp_path_factory.mktemp("c")
    for name in NAMES:
        emitted = emit_c(library.layers()[name])
        (folder / f"{name}.c").write_text(emitted.c)
        (folder / f"{name}.h").write_text(emitted.h)
    compiler = find_compiler()
    texts = [str(folder / f"{name}.c") for name in NAMES]
    made = [*compiler.command, *compiler.flags, *FLAGS, f"-I{RUNTIME}", *texts, "-lm"]
    done = subprocess.run([*made, "-o", str(folder / "all.so")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "all.so"))


class Called:
    """The C functions of a layer at some sizes and one dtype."""

    def __init__(self, shared, name, batch, dtype):
        self.shared, self.name, self.dtype = shared, name, np.dtype(dtype)
        layer = library.layers()[name]
        self.kernels = kernels_of(layer)
        self.sizes = {BATCH: batch, **unequal(layer)}

    def numbers(self, kernel):
        return [ctypes.c_ssize_t(self.sizes[size]) for size in kernel.sizes]

    def empty(self, kernel, what):
        """Saved values or workspace, of as many entries as C says: NaN."""
        count = getattr(self.shared, f"{self.name}_{kernel.program.name}_{what}")
        count.restype = ctypes.c_ssize_t
        return np.full(count(*self.numbers(kernel)), np.nan, self.dtype)

    def results(self, which, values):
        """The results as lists of arrays; those that are added to begin as ones."""
        kernel = self.kernels[which]
        saved = self.empty(kernel, "saved")
        if kernel.program.reads_saved:
            saved = self.call("forward", values, self.blank("forward", values))
        made = self.blank(which, values)
        self.call(which, values, made, saved)
        return made

    def blank(self, which, values):
        program = self.kernels[which].program
        nodes = [r.node for r in program.results]
        return [
            [np.full(a.shape, 1.0 if program.adds(r) else np.nan, self.dtype) for a in arrays]
            for r, arrays in zip(
                program.results,
                map(list, map(flat_arrays, values_of(nodes, values, self.sizes))),
                strict=True,
            )
        ]

    def call(self, which, values, made, saved=None):
        kernel = self.kernels[which]
        saved = self.empty(kernel, "saved") if saved is None else saved
        given = [values[a.variable] for a in kernel.program.arguments]
        arrays = [np.ascontiguousarray(cast(a, self.dtype)) for v in given for a in flat_arrays(v)]
        arrays += [a for group in made for a in group]
        arrays += [saved] if kernel.saved else []
        arrays += [self.empty(kernel, "workspace")] if kernel.workspace else []
        function = getattr(self.shared, f"{self.name}_{which}_{self.dtype}")
        function.restype = None
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in arrays]
        function(*self.numbers(kernel), *pointers)
        return saved


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_c_functions_compute_the_reference_and_what_cython_computes(shared, name, dtype):
    """Against the reference by the bound of `kernels`; against Cython by a tenth of it.

    Both do the same operations in the same order; their compilers may fuse other products into
    sums, each of which rounds once less.
    """
    called = Called(shared, name, 2, dtype)
    cython = importlib.import_module(f"derive.generated.{name}")
    runner = Runner(cython, library.layers()[name], unequal(library.layers()[name]), 2, dtype)
    eps = float(np.finfo(dtype).eps)
    for which, kernel in called.kernels.items():
        values = point(kernel.program, called.sizes, dtype)
        found = called.results(which, values)
        nodes = [r.node for r in kernel.program.results]
        expected = values_of(nodes, values, called.sizes)
        starts = [float(kernel.program.adds(r)) for r in kernel.program.results]
        out = tuple(
            tuple(np.full_like(a, s if s else np.nan) for a in group)
            if len(group) > 1
            else np.full_like(group[0], s if s else np.nan)
            for group, s in zip(found, starts, strict=True)
        )
        other = runner.results(which, values, out)
        for f, e, o, start in zip(found, expected, other, starts, strict=True):
            got = tuple(f)
            assert relative(got, e, start) <= ROUNDING * eps, which
            assert relative(got, tuple(flat_arrays(o))) <= ROUNDING / 10 * eps, which
