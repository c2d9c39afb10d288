"""The layers that come with layerwise, in the user's own syntax, one family a file."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from derive.layers import Layer


@cache
def layers() -> dict[str, Layer]:
    """Every layer of the library by name, family by family."""
    families = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    declared = [value for family in families for value in vars(family).values()]
    return {value.name: value for value in declared if isinstance(value, Layer)}
