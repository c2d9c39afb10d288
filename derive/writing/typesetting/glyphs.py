"""Widths of the glyphs of a formula in points, Computer Modern at 10 pt, and their classes."""

from __future__ import annotations


def _widths(table: str) -> dict[str, float]:
    """One letter and a number, or a word, a colon and a number."""
    pairs = (
        entry.rsplit(":", 1) if ":" in entry else (entry[0], entry[1:]) for entry in table.split()
    )
    return {name: float(width) for name, width in pairs}


ITALIC = _widths(
    """a5.29 b4.29 c4.33 d5.20 e4.66 f4.90 g4.77 h5.76 i3.45 j4.12 k5.21 l2.98 m8.78 n6.00 o4.85
    p5.03 q4.46 r4.51 s4.69 t3.61 u5.72 v4.85 w7.16 x5.72 y4.90 z4.65 A7.50 B7.59 C7.15 D8.28 E7.38
    F6.43 G7.86 H8.31 I4.40 J5.55 K8.49 L6.81 M9.70 N8.03 O7.63 P6.42 Q7.91 R7.59 S6.13 T5.84 U6.83
    V5.83 W9.44 X8.28 Y5.81 Z6.83"""
)
OVERHANG = _widths(
    """f1.08 g0.36 j0.57 k0.31 l0.20 q0.36 r0.28 v0.36 w0.27 y0.36 z0.44 B0.50 C0.72 D0.28 E0.58
    F1.39 H0.81 I0.78 J0.96 K0.72 M1.09 N1.09 O0.28 P1.39 R0.08 S0.58 T1.39 U1.09 V2.22 W1.39 X0.78
    Y2.22 Z0.72"""
)
"""The italic correction of a letter, which counts if it has no subscript."""
UPRIGHT = _widths(
    """a5.00 b5.56 c4.44 d5.56 e4.44 f3.06 g5.00 h5.56 i2.78 j3.06 k5.28 l2.78 m8.33 n5.56 o5.00
    p5.56 q5.28 r3.92 s3.94 t3.89 u5.56 v5.28 w7.22 x5.28 y5.28 z4.44 A7.50 B7.08 C7.22 D7.64 E6.81
    F6.53 G7.85 H7.50 I3.61 J5.14 K7.78 L6.25 M9.17 N7.50 O7.78 P6.81 Q7.78 R7.36 S5.56 T7.22 U7.50
    V7.50 W10.28 X7.50 Y7.50 Z6.11 -3.33"""
)
GREEK = _widths(
    """alpha:6.43 beta:6.18 gamma:5.73 delta:4.82 epsilon:4.06 zeta:5.11 eta:5.32 theta:4.97
    iota:3.54 kappa:5.76 lambda:5.83 mu:6.03 nu:5.58 xi:4.84 pi:6.06 rho:5.17 sigma:6.07 tau:5.50
    upsilon:5.76 phi:5.96 chi:6.26 psi:6.87 omega:6.58 Gamma:6.25 Delta:8.33 Theta:7.78 Lambda:6.94
    Xi:6.67 Pi:7.50 Sigma:7.22 Upsilon:7.78 Phi:7.22 Psi:7.78 Omega:7.22"""
)
ORD, OP, BIN, REL, OPEN, CLOSE, PUNCT, INNER = range(8)

SIGNS: dict[str, tuple[int, float]] = {
    **{name: (ORD, width) for name, width in GREEK.items()},
    **dict.fromkeys("0123456789", (ORD, 5.0)),
    **dict.fromkeys(("Vert", "|", "/", "#", "$", "_"), (ORD, 5.0)),
    **dict.fromkeys((".", "vert", "!"), (ORD, 2.78)),
    **{"partial": (ORD, 5.87), "nabla": (ORD, 8.33), "infty": (ORD, 10.0), "ell": (ORD, 4.17)},
    **{"imath": (ORD, 3.22), "jmath": (ORD, 4.11), "cdots": (INNER, 12.8), "dots": (INNER, 12.8)},
    **{"ldots": (INNER, 12.8), "sum": (OP, 14.44), "prod": (OP, 12.8), "int": (OP, 9.4)},
    **dict.fromkeys(("+", "-", "odot", "oslash", "otimes", "times", "pm", "circ"), (BIN, 7.78)),
    **{"cdot": (BIN, 2.78), "*": (BIN, 5.0), "circ": (BIN, 5.0), "lrcorner": (BIN, 5.0)},
    **{"llcorner": (BIN, 5.0), "mid": (REL, 2.78), ":": (REL, 2.78), "quad": (ORD, 10.0)},
    **dict.fromkeys(("=", "<", ">", "le", "ge", "leq", "geq", "ne", "equiv"), (REL, 7.78)),
    **{"in": (REL, 6.67), "to": (REL, 10.0), "mapsto": (REL, 10.0), "colon": (PUNCT, 2.78)},
    **{"(": (OPEN, 3.89), "[": (OPEN, 2.78), "{": (OPEN, 5.0), "langle": (OPEN, 3.89)},
    **{")": (CLOSE, 3.89), "]": (CLOSE, 2.78), "}": (CLOSE, 5.0), "rangle": (CLOSE, 3.89)},
    **{"lVert": (OPEN, 5.0), "rVert": (CLOSE, 5.0), "lvert": (OPEN, 2.78), "rvert": (CLOSE, 2.78)},
    **{"lfloor": (OPEN, 4.44), "rfloor": (CLOSE, 4.44), "lceil": (OPEN, 4.44)},
    **{"rceil": (CLOSE, 4.44), ",": (PUNCT, 2.78), ";": (PUNCT, 2.78)},
}
"""Class and width of other symbols, by the character or the name of the command."""
SIZES = {
    "big": {"(": 4.58, ")": 4.58, "langle": 4.72, "rangle": 4.72, "lVert": 5.56, "rVert": 5.56},
    "bigg": {"(": 7.36, ")": 7.36, "langle": 8.06, "rangle": 8.06, "lVert": 5.56, "rVert": 5.56},
}
"""Brackets by size; \\left and \\right count as the larger."""
