"""Networks (thesis section 3.1): compositions of the library's layers with a loss."""

from derive import network
from derive.library.dense import affine, dense
from derive.library.losses import cross_entropy_index

mlp = network("mlp", hidden=dense, output=affine, loss=cross_entropy_index)
