"""The parser of the command line; each module of verbs adds its own."""

from __future__ import annotations

import argparse

from . import building, caching, checking, showing, starting, writing

FAMILIES = (showing, building, checking, writing, starting, caching)
"""The modules of verbs, in the order of the help; `add(verbs)` of each adds its verbs."""

ABOUT = """Derives the gradients of layers f(x; theta), and builds and checks their kernels.

LAYERS is the name of a layer of the library, FILE.py or FILE.py:name."""
STATUS = """exit status:
  0    success
  1    an error, reported on stderr, or a failed check
  2    a usage error
  130  interrupted

The report is on stdout, as one JSON document with --json; progress is on stderr."""


def parser() -> argparse.ArgumentParser:
    """The verbs and their options."""
    made = argparse.ArgumentParser(
        prog="derive",
        description=ABOUT,
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = made.add_subparsers(dest="verb", required=True, metavar="VERB")
    for family in FAMILIES:
        family.add(verbs)
    return made
