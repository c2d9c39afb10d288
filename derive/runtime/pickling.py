"""Kernels in a pickle: a reference, by which whoever reads it loads or builds them again.

A module of kernels, one kernel, or what holds kernels can be pickled, as `multiprocessing` does
with the arguments of a function.  The pickle of `layer.compile()` holds the layer's declaration;
that of an imported module, as `derive.generated.dense`, its name.  A copy is the module or kernel
itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pickle import PicklingError
from types import ModuleType
from typing import Any
from weakref import WeakSet

Reference = tuple[Callable[..., Any], tuple[Any, ...]]


class Kernels(ModuleType):
    """The kernels of a layer: a module that pickles as a reference."""

    _reference: Callable[[], Reference]

    def __reduce__(self) -> Reference:
        """What has the module again.  Raises PicklingError, saying why, where nothing has."""
        return found() if (found := vars(self).get("_reference")) else imported(self)

    def __copy__(self) -> Kernels:
        return self

    def __deepcopy__(self, memo: object) -> Kernels:
        return self


_known: WeakSet[Kernels] = WeakSet()


def referable(module: ModuleType, reference: Callable[[], Reference] | None = None) -> None:
    """Make a module of kernels one that pickles: by `reference()`, else by its name."""
    module.__class__ = Kernels
    assert isinstance(module, Kernels)
    if reference is not None:
        module._reference = reference
    _known.add(module)


def imported(module: ModuleType) -> Reference:
    """The import of a module that can be imported by its name."""
    name = module.__name__
    if sys.modules.get(name) is not module:
        raise PicklingError(
            f"the kernels of {name} were loaded from {module.__file__} and not imported: put that "
            f"folder on sys.path and import {name}, or take those of layer.compile()"
        )
    return again, (name,)


def again(name: str) -> ModuleType:
    """The kernels that can be imported by that name.  Raises ImportError where none can."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"the kernels {name}, which a pickle refers to, can't be imported: {error}; put their "
            "folder on sys.path, or build them there"
        ) from error


def reference_of(kernel: Any) -> Reference:
    """Where a kernel is had again: in its module, under its name.

    Raises PicklingError where no module has it.
    """
    name = str(kernel.name).rpartition(".")[2]
    for module in list(_known):
        if vars(module).get(name) is kernel:
            return getattr, (module, name)
    raise PicklingError(
        f"{kernel.name} is in no module of kernels, so no pickle can say where it is had again"
    )
