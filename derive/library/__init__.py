"""The layers that come with layerwise, in the user's own syntax, one family a file."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ..models.layers import Layer


@cache
def layers() -> dict[str, Layer]:
    """Every layer of the library by name, family by family."""
    families = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    shown = [vars(family).items() for family in families]
    declared = [value for items in shown for name, value in items if not name.startswith("_")]
    return {value.name: value for value in declared if isinstance(value, Layer)}
