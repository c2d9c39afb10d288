"""What the pickle of `layer.compile()` holds: the layer's declaration, to be compiled again.

Whoever reads it finds the kernels in the cache, or builds them; the same process has the same ones.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from .hooks import compiled
from .layers import Layer
from .runtime.pickling import Reference


def reference(layer: Layer, cache: Path | None) -> Callable[[], Reference]:
    """What makes the reference when it is wanted.

    It has the layer's pickle and not the layer, which may go while its kernels stay.
    """
    name = layer.name
    try:
        held, why = pickle.dumps(layer), ""
    except Exception as error:  # whatever a part of the user's own raises
        held, why = b"", f"{type(error).__name__}: {error}"

    def found() -> Reference:
        if not held:
            raise pickle.PicklingError(
                f"the kernels of {name} can't be pickled, since their layer can't: {why}; compile "
                "it where the kernels are wanted"
            )
        return again, (held, cache)

    return found


def again(held: bytes, cache: Path | None) -> ModuleType:
    """The kernels of a layer that was pickled."""
    return compiled(pickle.loads(held), cache=cache)
