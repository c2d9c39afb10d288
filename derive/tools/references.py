"""What the pickle of `layer.compile()` holds: the layer's declaration, to be compiled again."""

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
    """What makes the reference when it is wanted: `again` of the layer's pickle and the cache.

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
