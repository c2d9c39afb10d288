"""The command line: derive list | show | build | check | latex | new | cache."""

from .command import main

__all__ = ["main"]
