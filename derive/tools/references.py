"""The pickle of `layer.compile()`: it holds the layer, which is compiled again when it is read."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from ..models.layers import Layer
from ..runtime.pickling import Reference


def reference(
    layer: Layer, cache: Path | None, again: Callable[[bytes, Path | None], ModuleType]
) -> Callable[[], Reference]:
    """A function that makes the reference: `again`, with the layer's pickle and the cache.

    It keeps the layer's pickle, not the layer, so that the layer can be freed before its kernels.
    """
    name = layer.name
    try:
        held, why = pickle.dumps(layer), ""
    except Exception as error:  # anything that a user's class may raise
        held, why = b"", f"{type(error).__name__}: {error}"

    def found() -> Reference:
        if not held:
            raise pickle.PicklingError(
                f"the kernels of {name} can't be pickled because their layer can't: {why}; compile "
                "it in the process that needs the kernels"
            )
        return again, (held, cache)

    return found
