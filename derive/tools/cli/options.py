"""What the verbs share: how one is added, and options that several of them take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace], int]
LAYERS = "a library layer's name, FILE.py or FILE.py:name"


def add_verb(
    verbs: Verbs, name: str, summary: str, run: Run, more: str = ""
) -> argparse.ArgumentParser:
    """A new verb; `run` takes the parsed options and returns the status, `more` ends its help."""
    verb = verbs.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.set_defaults(run=run, wrong=verb.error)
    return verb


def add_json(verb: argparse.ArgumentParser) -> None:
    """`--json`: the report as one document; see `reports`."""
    verb.add_argument("--json", action="store_true", help="the report as one JSON document")
