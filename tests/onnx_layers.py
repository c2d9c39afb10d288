"""ONNX's node tests as layers: how many are right, refused and not expressible.

    python tests/onnx_layers.py [OPERATOR ..]

It needs the package `onnx`: pip install 'layerwise[oracle]'.  A case counts where it is one node of
an operator that the library has, which is every operator with a converter below.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import onnx_attention
import onnx_entrywise
import onnx_images
import onnx_recurrent
from onnx_cases import CONVERTERS, Outcome, cases, outcome

ROOMS = (onnx_entrywise, onnx_images, onnx_recurrent, onnx_attention)  # they register converters
KINDS = ("right", "wrong", "refused", "not expressible")


def outcomes(operators: Iterable[str] = CONVERTERS) -> list[Outcome]:
    """What comes of every case of these operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, while it makes its cases
        wanted = set(operators)
        return [outcome(case) for case in cases() if case.operator in wanted]


def table(found: Sequence[Outcome]) -> dict[str, tuple[int, ...]]:
    """For each operator, how many cases are of each kind."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in found:
        counts[one.operator][one.kind] += 1
    return {name: tuple(counts[name][kind] for kind in KINDS) for name in sorted(counts)}


def reasons(found: Sequence[Outcome], kind: str) -> Counter[str]:
    """Why cases are of a kind, how often each."""
    return Counter(one.reason for one in found if one.kind == kind)


def main(words: Sequence[str]) -> int:
    found = outcomes(words or CONVERTERS)
    print(f"{'operator':30} {'right':>6} {'wrong':>6} {'refused':>8} {'not expressible':>16}")
    for name, (right, wrong, refused, missing) in table(found).items():
        print(f"{name:30} {right:6} {wrong:6} {refused:8} {missing:16}")
    total = Counter(one.kind for one in found)
    print(", ".join(f"{total[kind]} {kind}" for kind in KINDS), f"of {len(found)}")
    for kind in KINDS[1:]:
        for reason, count in reasons(found, kind).most_common():
            print(f"  {kind}, {count} times: {reason}")
    return 1 if total["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
