"""Cells for tests: linear, and with a largest entry in it."""

from derive import Hom, R, broadcast, cell, dims, largest, recurrent, tanh
from derive.library.losses import squared_loss
from derive.library.rnn import readout

n, m = dims("n m")
H = R(n)


@cell
def linear_cell(h: H, x: H, *, W: Hom(H, H)) -> H:
    """W h + x."""
    return W @ h + x


@cell
def peak_cell(h: H, x: R(m), *, W: Hom(H, H), U: Hom(R(m), H), b: H) -> H:
    """tanh(W h + z less its largest entry), z = U x + b."""
    z = U @ x + b
    return tanh(W @ h + z - broadcast(largest(z), H))


linear = recurrent("linear", linear_cell)
peak = recurrent("peak", peak_cell, prediction=readout, loss=squared_loss)
