"""The output of a command: its report on stdout, as text or JSON, everything else on stderr."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from numbers import Integral, Real
from typing import Any


def say(line: str) -> None:
    """A line on stderr: progress or an error."""
    print(line, file=sys.stderr, flush=True)


def report(options: argparse.Namespace, document: Any, lines: Iterable[str]) -> None:
    """Print the document with `--json`, else the lines."""
    if options.json:
        print(json.dumps(plain(document), indent=1, allow_nan=False))
        return
    for line in lines:
        print(line)


def plain(value: Any) -> Any:
    """A value as JSON: dataclasses by their fields, times in ISO 8601, paths and others as text.

    JSON has no infinity and no NaN: they are null.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):  # NumPy's integers too
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [plain(entry) for entry in value]
    return value.isoformat() if isinstance(value, datetime) else str(value)
