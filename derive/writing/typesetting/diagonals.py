r"""Forms with a diagonal: \operatorname{diag}(d)\,A, \operatorname{diag}(d) \otimes a.

The blocks of a cell's derivatives are such arrays (`structure`).  A product of a diagonal and an
array is one form, however deep it is nested: diag(a) diag(b) A = diag(a (.) b) A.
"""

from __future__ import annotations

from ...language.expressions import Constant, Contraction, Node, hadamard
from ...language.forms import Access
from ...language.notation import APPLIED, ATOM, DOT, PRODUCT, TIGHT, Writes, Written
from ...language.patterns import shown
from .typography import enclosed, juxtaposed

MAPPED = frozenset({ATOM, APPLIED, DOT})
IDENTITY = "I"

Read = tuple[Node, Access]


def diagonal(w: Writes, node: Contraction) -> Written | None:
    """The form in this notation; None if it has no diagonal."""
    if node.selectors or len(node.filled) > 3 or not _is_plain(node):
        return None
    reads = [(x, shown(node, node.access(k), w.family)) for k, x in enumerate(node.filled)]
    out = shown(node, node.output, w.family)
    if len(reads) == 1:
        return _single(w, *reads[0], out)
    if len(reads) == 3:
        return _outer(w, reads, out)
    return _pair(w, reads[0], reads[1], out) or _pair(w, reads[1], reads[0], out)


def _is_plain(node: Contraction) -> bool:
    """Whether every access consists of indices that run over whole axes."""
    reads = [(node.access(k), x.space) for k, x in enumerate(node.filled)]
    extents = dict(node.form.extents)
    return all(
        extents.get(entry) == size
        for access, space in (*reads, (node.output, node.space))
        for entry, size in zip(access, space.shape, strict=True)  # type: ignore[attr-defined]
    )


def _single(w: Writes, x: Node, access: Access, out: Access) -> Written | None:
    """diag(d), a multiple of the identity, or I (x) a."""
    if access and len(out) == len(access) + 2 and out[0] == out[1] and out[2:] == access:
        return None if out[0] in access else (rf"{IDENTITY} \otimes {w(x, TIGHT)}", PRODUCT)
    if len(out) != 2 or out[0] != out[1]:
        return None
    if access == out[:1]:
        return diag(w, x), ATOM
    if access:
        return None
    if isinstance(x, Constant) and x.value == 1:
        return IDENTITY, ATOM
    return juxtaposed(w(x, MAPPED), IDENTITY), PRODUCT


def diag(w: Writes, d: Node) -> str:
    """The diagonal matrix of a vector."""
    return rf"\operatorname{{diag}}{enclosed('(', w(d), ')')}"


def _pair(w: Writes, left: Read, right: Read, out: Access) -> Written | None:
    """A product of a vector and an array, or of a matrix and an array of more axes."""
    (d, p), (x, q) = left, right
    if len(p) == 1 and len(q) > 1 and q[:1] == p and out == q:
        return _scaled(w, d, x)
    if len(p) == 1 and len(q) == 2 and q[1:] == p and out == q:
        return juxtaposed(w(x, MAPPED), diag(w, d)), APPLIED
    if len(p) == 1 and out == (*p, *p, *q) and p[0] not in q:
        return rf"{diag(w, d)} \otimes {w(x, TIGHT)}", PRODUCT
    if len(p) == 2 and len(q) > 2 and p[1:] == q[:1] and out == (p[0], *q[1:]):
        return juxtaposed(w(d, TIGHT), w(x, MAPPED)), APPLIED
    return None


def _outer(w: Writes, reads: list[Read], out: Access) -> Written | None:
    """u (x) v (x) a."""
    if not all(access and access[0] in out for _, access in reads):
        return None
    order = sorted(reads, key=lambda read: out.index(read[1][0]))
    met = tuple(entry for _, access in order for entry in access)
    if met != out or len(set(out)) < len(out):
        return None
    return r" \otimes ".join(w(x, TIGHT) for x, _ in order), PRODUCT


def _scaled(w: Writes, d: Node, x: Node) -> Written:
    """diag(d) A; diagonals in front of A are multiplied into d."""
    while (inner := _row_scaling(w, x)) is not None:
        more, x = inner
        d = hadamard(more, d)
    return juxtaposed(diag(w, d), w(x, MAPPED)), APPLIED


def _row_scaling(w: Writes, x: Node) -> tuple[Node, Node] | None:
    """d and A if an unnamed expression is diag(d) A."""
    if x in w.names or not isinstance(x, Contraction) or len(x.filled) != 2 or x.selectors:
        return None
    for k, other in ((0, 1), (1, 0)):
        d, a = x.filled[k], x.filled[other]
        p, q = (shown(x, x.access(m), w.family) for m in (k, other))
        if len(p) == 1 and len(q) > 1 and q[:1] == p and shown(x, x.output, w.family) == q:
            return d, a
    return None
