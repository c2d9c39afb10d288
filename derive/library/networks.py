"""Networks: compositions of the library's layers with a loss (thesis sections 3.1 and 5.3)."""

from derive import bidirectional, deep, network, recurrent, transpose, with_shared
from derive.library.convolution import convolutional, convolutional_pooled, flattening
from derive.library.dense import affine, dense
from derive.library.losses import cross_entropy_index, squared_loss
from derive.library.rnn import (
    lstm,
    readout,
    readout_of_both,
    readout_of_pair,
    readout_of_pairs,
    vanilla_rnn,
)

mlp = network("mlp", hidden=dense, output=affine, loss=cross_entropy_index)

cnn = network(
    "cnn",
    first=convolutional,
    second=convolutional_pooled,
    flat=flattening,
    output=affine,
    loss=cross_entropy_index,
)

autoencoder = with_shared(
    network("autoencoder", encoder=dense, code=affine, decoder=dense, output=affine),
    decoder_W=lambda code_W: transpose(code_W),
    output_W=lambda encoder_W: transpose(encoder_W),
).with_loss(squared_loss, target="input")

elman = recurrent("elman", vanilla_rnn, prediction=readout, loss=squared_loss)

lstm_classifier = recurrent(
    "lstm_classifier", lstm, prediction=readout_of_pair, loss=cross_entropy_index
)

bidirectional_rnn = bidirectional(
    "bidirectional_rnn",
    forward=vanilla_rnn,
    backward=vanilla_rnn,
    prediction=readout_of_both,
    loss=squared_loss,
)

_both_ways = bidirectional("both_ways", forward=lstm, backward=lstm, prediction=readout_of_pairs)
deep_bidirectional_lstm = deep(
    "deep_bidirectional_lstm", lower=_both_ways, upper=_both_ways, loss=cross_entropy_index
)
