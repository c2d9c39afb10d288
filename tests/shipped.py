"""The library's layers: those of one step, and the recurrent networks over sequences."""

from derive import Layer, Recurrent, library

RECURRENT = {name: f for name, f in library.layers().items() if isinstance(f, Recurrent)}
SINGLE: dict[str, Layer] = {n: f for n, f in library.layers().items() if n not in RECURRENT}
