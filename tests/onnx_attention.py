"""The converter of ONNX's Attention: heads in groups, masks, past keys, soft caps.

Which query sees which key is data: it is laid out with NumPy and added to the scores, -inf where a
key is hidden.
"""

from __future__ import annotations

import numpy as np
import sympy
from onnx_cases import Case, Pairs, converts
from onnx_entrywise import declared, number

from derive import embed, form, softmax
from derive.language.expressions import Node, axes

S, T, J, G, M = axes(0, 5)  # query, key, entry, group of heads, head within the group


def heads(x: Node, count: int) -> Node:
    """R(length, count * d) as R(count, length, d)."""
    d = x.space.shape[1] // count
    return form("heads", x=(S, d * G + J), to=(G, S, J), ranges={G: count, J: d})(x)


def joined(y: Node) -> Node:
    """R(count, length, d) as R(length, count * d)."""
    count, length, d = y.space.shape
    return form("joined", y=(G, S, J), to=(S, d * G + J), shape=(length, count * d))(y)


def after(past: Node, x: Node) -> Node:
    """Keys behind those of the past: R(h, p, d) and R(h, t, d) as R(h, p + t, d)."""
    _, before, d = past.space.shape
    whole = before + x.space.shape[1]
    return embed(past, (0, 0), (whole, d)) + embed(x, (int(before), 0), (whole, d))


@converts("Attention")
def attention(case: Case) -> Pairs:
    q, k, v = (case.family(place) for place in range(3))
    flat = q.space.rank == 2
    if flat:
        own, shared = (int(case.attribute(f"{x}_num_heads")) for x in ("q", "kv"))
        q, k, v = heads(q, own), heads(k, shared), heads(v, shared)
    if case.has(4):
        k, v = after(case.family(4), k), after(case.family(5), v)
    own, shared = int(q.space.shape[0]), int(k.space.shape[0])
    scores, stages = scored(case, q, k, own // shared)
    weights = softmax(scores)
    each = own // shared
    y = form("weighted", a=(each * G + M, S, T), v=(G, T, J), to=(each * G + M, S, J),
             ranges={G: shared, M: each}, shape=(own, q.space.shape[1], v.space.shape[2]))(
        weights, v
    )  # fmt: skip
    made = [joined(y) if flat else y, *([k, v] if case.has(4) else [])]
    if len(case.outputs) > len(made):
        mode = case.attribute("qk_matmul_output_mode", 0)
        made += [] if len(made) == 3 else [None, None]
        made.append([*stages, weights][mode])
    wanted = [e for e in case.outputs if e is not None]
    return list(zip([x for x in made if x is not None], wanted, strict=True))


def scored(case: Case, q: Node, k: Node, each: int) -> tuple[Node, list[Node]]:
    """The scores before softmax; and as they are at first, capped, and with the mask added."""
    own, length, d = q.space.shape
    scale = case.attribute("scale")
    factor = 1 / sympy.sqrt(d) if scale is None else number(scale)
    first = factor * form("scores", q=(each * G + M, S, J), k=(G, T, J), to=(each * G + M, S, T),
                          ranges={G: own // each, M: each},
                          shape=(own, length, k.space.shape[1]))(q, k)  # fmt: skip
    cap = number(case.attribute("softcap", 0.0))
    capped = first if cap == 0 else declared(case, lambda t: cap * sympy.tanh(t / cap))(first)
    seen = bias(case, tuple(map(int, first.space.shape)))
    if not seen.any():
        return capped, [first, capped, capped]
    masked = capped + case.data(seen, "mask")
    return masked, [first, capped, masked]


def bias(case: Case, shape: tuple[int, ...]) -> np.ndarray:
    """What is added to the scores of each point: the mask, and -inf at a key that is hidden."""
    batch, (_, queries, keys) = len(np.asarray(case.inputs[0])), shape
    found = np.zeros((batch, *shape))
    filled = np.full(batch, keys)
    if case.has(6):
        filled = np.asarray(case.inputs[6])
    if case.has(3):
        found = found + _mask(np.asarray(case.inputs[3]), keys)
    key = np.arange(keys)
    past = np.shape(case.inputs[4])[2] if case.has(4) else 0
    offset = filled - queries if case.has(6) else np.full(batch, past)
    place = np.arange(queries)[None, :] + offset[:, None]
    behind = key - place[:, :, None]  # how far a key is ahead of its query
    hidden = np.broadcast_to((key >= filled[:, None])[:, None], behind.shape).copy()
    left, right = (case.attribute(f"{side}_window_size", -1) for side in ("left", "right"))
    hidden |= (behind > 0) if case.attribute("is_causal", 0) else False
    hidden |= (behind < -left) if left >= 0 else False
    hidden |= (behind > right) if right >= 0 else False
    return np.where(hidden[:, None], -np.inf, found)


def _mask(mask: np.ndarray, keys: int) -> np.ndarray:
    """A mask to add, with the keys that it says nothing of hidden."""
    if mask.dtype == bool:
        mask = np.where(mask, 0.0, -np.inf)
    missing = keys - mask.shape[-1]
    pads = [(0, 0)] * (mask.ndim - 1) + [(0, missing)]
    return np.pad(mask.astype(np.float64), pads, constant_values=-np.inf)
