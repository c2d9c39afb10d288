r"""The names of maps in LaTeX: nabla*_W dense(x; W, b) is \nabla^{*}_{W} dense(x; W, b).

The name of a map is a text composed by the layer, the hooks and the adjoint (`maps`), which is
parsed here word by word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .letters import symbol, word
from .multilinear import RIGHT_HOOK
from .typography import HOOK

_DERIVATIVE = re.compile(
    r"(?P<operators>(?:D|nabla)(?:\*|\^2)?(?: (?:D|nabla))?)_(?P<by>\w+|\([\w, ]*\)) "
    r"(?P<function>\w+)\((?P<arguments>[\w,; ]*)\)"
)
_WORD = re.compile(r"_\||\|_| \. |\w+|[()*^,;]| ")
_SIGNS = {"_|": f" {HOOK} ", "|_": f" {RIGHT_HOOK} ", " . ": r" \cdot ", "*": "^{*}", " ": " "}


def title(name: str) -> str:
    r"""The name of a map in the notation of the thesis.

    >>> print(title("nabla*_W dense(x; W, b)"), title("(v _| D^2_(x, x) f(x))*"))
    \nabla^{*}_{W} \operatorname{dense}(x; W, b) (v \mathbin{\lrcorner} D^{2} f(x))^{*}
    """
    return re.sub(r" +", " ", "".join(_pieces(name))).replace("( ", "(").strip()


def _pieces(name: str) -> Iterator[str]:
    place = 0
    while place < len(name):
        found = _DERIVATIVE.match(name, place)
        if found:
            yield _derivative(found)
        else:
            found = _WORD.match(name, place)
            yield _sign(found[0]) if found else ""
        place = found.end() if found else place + 1


def _sign(text: str) -> str:
    return _SIGNS.get(text) or (symbol(text) if re.match(r"\w", text) else text)


def _derivative(found: re.Match[str]) -> str:
    """D^2 f(x; theta); an index only if there are several arguments of the kind."""
    states, _, parameters = found["arguments"].partition("; ")
    by = found["by"].strip("()").split(", ")
    operators = found["operators"].replace("^2", " again").split()
    if operators[-1] == "again":
        operators = [operators[0], operators[0]]
    head = _operators(operators, by, {"D": states.split(", "), "nabla": parameters.split(", ")})
    sides = [", ".join(map(symbol, side.split(", "))) for side in (states, parameters) if side]
    return f"{head} {word(found['function'])}({'; '.join(sides)})"


def _operators(operators: list[str], by: list[str], kinds: dict[str, list[str]]) -> str:
    shown = [
        (_operator(operator), f"_{{{symbol(x)}}}" if len(kinds[operator.strip("*")]) > 1 else "")
        for operator, x in zip(operators, by, strict=True)
    ]
    if len(shown) == 2 and shown[0] == shown[1]:
        return f"{shown[0][0]}^{{2}}{shown[0][1]}"
    return " ".join(operator + index for operator, index in shown)


def _operator(operator: str) -> str:
    star = "^{*}" if operator.endswith("*") else ""
    return (r"\nabla" if operator.startswith("nabla") else "D") + star
