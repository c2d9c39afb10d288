"""Kernels without a compiler: the reference, behind the checked edge of the compiled ones.

A call goes through the same checks.  The edge then calls a Python function, which evaluates the
program as it is written, in float64.  `saved` must have its size, but nothing is read from it.
Where the edge is not compiled either, `plain_edge` takes its place.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import sympy

from ...language.reference import Array, Sizes, extent, values_of
from ...models.layers import Layer
from ...models.levels import Recurrent
from ...models.programs import programs
from ...runtime.declare import Argument, Derived, Leaf
from ...runtime.pickling import Reference, reference_of
from ...runtime.recurrence import Recurrence
from ..lowering.kernel import Kernel
from ..lowering.lower import lower
from ..printing.cython.target import CYTHON
from ..printing.places import integer
from ..printing.signatures import within
from ..sequences.sequences import sequences
from ..statements.scalars import Buffer
from .driving import Drive, element, put
from .interpret import declaration_of
from .plain_edge import Called

DTYPES = ("float64", "float32")
PROTOCOL = (
    *("name", "declaration", "sizes", "arguments", "results", "mode", "saved_role"),
    *("saved_size", "workspace_size", "__signature__"),
)


def evaluated_module(layer: Layer, edge: Any) -> ModuleType:
    """The kernels of a layer, behind an `edge`, evaluated anew at every call."""
    module = ModuleType(layer.name, f"{layer.signature}, evaluated by the NumPy reference.")
    over_time = sequences(layer) if isinstance(layer, Recurrent) else None
    kernels = over_time.kernels if over_time else [lower(program) for program in programs(layer)]
    made = {k.program.name: EvaluatedKernel(layer.name, k, edge) for k in kernels}
    for name, kernel in made.items():
        setattr(module, name, kernel)
    if over_time:
        module.recurrence = Recurrence(layer.name, made, **over_time.roles)  # type: ignore[attr-defined]
    return module


class EvaluatedKernel:
    """A kernel under the protocol of compiled ones: the same arguments, results and errors."""

    def __init__(self, module: str, kernel: Kernel, edge: Any) -> None:
        self._evaluation = _Evaluation(kernel)
        declared = _declared(f"{module}.{kernel.program.name}", kernel)
        self._checked = edge.Kernel(**declared, **self._evaluation.addresses())
        self.__doc__ = "\n".join(kernel.program.law)
        for name in PROTOCOL:
            setattr(self, name, getattr(self._checked, name))

    def __call__(self, *given: Any, **named: Any) -> Any:
        results = self._checked(*given, **named)
        self._evaluation.raise_failure()
        return results

    def bind(self, *given: Any, **named: Any) -> EvaluatedBound:
        """Arrays checked once and held: `bound()` evaluates the kernel on what they contain."""
        return EvaluatedBound(self, self._checked.bind(*given, **named), self._evaluation)

    def __reduce__(self) -> Reference:
        return reference_of(self)

    def __copy__(self) -> EvaluatedKernel:
        return self

    def __deepcopy__(self, memo: object) -> EvaluatedKernel:
        return self

    def __repr__(self) -> str:
        return repr(self._checked)


class EvaluatedBound:
    """A kernel with the arrays of one call."""

    def __init__(self, kernel: EvaluatedKernel, checked: Any, evaluation: _Evaluation) -> None:
        self.kernel, self.results = kernel, checked.results
        self._checked, self._evaluation = checked, evaluation

    def __call__(self) -> Any:
        self._checked()
        self._evaluation.raise_failure()
        return self.results

    def __repr__(self) -> str:
        return repr(self._checked)


class _Evaluation:
    """What the edge calls, once for each dtype, with sizes and addresses."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.failed = kernel, threading.local()
        self.called = {name: Called(partial(self._call, np.dtype(name))) for name in DTYPES}

    def addresses(self) -> dict[str, int | None]:
        return {name: ctypes.cast(f, ctypes.c_void_p).value for name, f in self.called.items()}

    def raise_failure(self) -> None:
        """An error that the edge, being C, has not seen; those of a thread are its own."""
        error, self.failed.error = getattr(self.failed, "error", None), None
        if error is not None:
            raise error

    def _call(self, dtype: np.dtype[Any], size: Any, address: Any) -> None:
        try:
            self._evaluate(dtype, size, address)
        except BaseException as error:
            self.failed.error = error

    def _evaluate(self, dtype: np.dtype[Any], size: Any, address: Any) -> None:
        """All values first: a failure leaves every array as it was."""
        kernel, program = self.kernel, self.kernel.program
        sizes = {symbol: size[k] for k, symbol in enumerate(kernel.sizes)}
        buffers = list(chain(*kernel.arguments, *kernel.results))
        given = [_array(address[k], b, dtype, sizes) for k, b in enumerate(buffers)]
        if kernel.callees:
            flat = {b.name: _flat(a) for b, a in zip(buffers, given, strict=True)}
            with np.errstate(all="ignore"):
                Drive(kernel, sizes, flat)()
            return
        arrays = iter(given)
        point = {x: element(x.space, arrays) for x in (a.variable for a in program.arguments)}
        outs = [list(islice(arrays, len(group))) for group in kernel.results]
        nodes = [result.node for result in program.results]
        asked = [k for k, out in enumerate(outs) if any(array is not None for array in out)]
        with np.errstate(all="ignore"):  # as compiled kernels do
            values = values_of([nodes[k] for k in asked], point, sizes)
        for k, value in zip(asked, values, strict=True):
            put(value, outs[k], program.adds(program.results[k]))


def _array(address: int | None, buffer: Buffer, dtype: np.dtype[Any], sizes: Sizes) -> Array | None:
    """The caller's memory as an array; None where the result is not asked for."""
    if address is None:
        return None
    number = np.dtype(np.int64) if buffer.kind == "index" else dtype
    shape = tuple(extent(entry, sizes) for entry in buffer.shape)
    told = {"data": (address, False), "shape": shape, "typestr": number.str, "version": 3}
    return np.asarray(SimpleNamespace(__array_interface__=told))


def _flat(array: Array | None) -> Array | None:
    return None if array is None else array.reshape(-1)


# --- the declaration, with the formulas that sentences show


def _declared(name: str, kernel: Kernel) -> dict[str, Any]:
    made = declaration_of(name, kernel)
    return {
        "name": name,
        "sizes": made.sizes,
        "arguments": _with_formulas(made.arguments, kernel.arguments, kernel),
        "results": _with_formulas(made.results, kernel.results, kernel),
        "mode": made.mode,
        "saved": _derived(kernel.saved_count, kernel) if kernel.saved else None,
        "saved_role": made.saved_role,
        "workspace": _derived(kernel.workspace_count, kernel) if kernel.workspace else None,
        "within": tuple(_derived(extent, kernel) for extent in within(kernel)),
    }


def _with_formulas(
    declared: Iterable[Argument], groups: Iterable[tuple[Buffer, ...]], kernel: Kernel
) -> tuple[Argument, ...]:
    return tuple(
        replace(argument, leaves=tuple(map(partial(_with_formula, kernel), argument.leaves, group)))
        for argument, group in zip(declared, groups, strict=True)
    )


def _with_formula(kernel: Kernel, leaf: Leaf, buffer: Buffer) -> Leaf:
    pairs = zip(leaf.extents, buffer.shape, strict=True)
    return replace(leaf, extents=tuple(_derived(s, kernel) if callable(e) else e for e, s in pairs))


def _derived(expression: sympy.Expr, kernel: Kernel) -> Derived:
    def value(*sizes: int) -> int:
        return extent(expression, dict(zip(kernel.sizes, sizes, strict=True)))

    return Derived(integer(sympy.expand(expression), CYTHON), value)
