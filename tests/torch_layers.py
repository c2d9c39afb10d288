"""PyTorch's own functions for the library's layers of images and of rows of vectors."""

from typing import Any

Torch = Any  # the module, an optional oracle


def thesis_cnn_layer(torch: Torch, x, W):
    summed = x.sum(dim=1, keepdim=True)  # its filters meet the sum of the channels
    return torch.nn.functional.max_pool2d(torch.tanh(torch.conv2d(summed, W[:, None])), 2)


def convolutional(torch: Torch, x, W, b):
    return torch.relu(torch.conv2d(x, W, b, padding=1))


def convolutional_pooled(torch: Torch, x, W, b):
    return torch.nn.functional.max_pool2d(convolutional(torch, x, W, b), 2)


def depthwise(torch: Torch, x, W):
    return torch.conv2d(x, W, stride=2, padding=1, groups=x.shape[1])


def dilated(torch: Torch, x, W, b):
    return torch.tanh(torch.conv1d(x, W, b, padding=2, dilation=2))


def upsampling(torch: Torch, x, W):
    return torch.conv_transpose2d(x, W, stride=2)


def max_pooling(torch: Torch, x):
    return torch.nn.functional.max_pool2d(x, 2)


def overlapping_max_pooling(torch: Torch, x):
    return torch.nn.functional.max_pool2d(x, 3, stride=2, padding=1)


def average_pooling(torch: Torch, x):
    return torch.nn.functional.avg_pool2d(x, 2)


def flattening(torch: Torch, x):
    return x.flatten(1)


def embedding_lookup(torch: Torch, k, E):
    return torch.nn.functional.embedding(k, E)


def softmax_layer(torch: Torch, x):
    return torch.softmax(x, dim=1)


def self_attention(torch: Torch, x, Q, K, V):
    return torch.nn.functional.scaled_dot_product_attention(x @ Q.T, x @ K.T, x @ V.T)


def residual(torch: Torch, x, W, b):
    return x + torch.tanh(torch.nn.functional.linear(x, W, b))


def linear_layer(torch: Torch, x, P):
    return torch.nn.functional.linear(x, P)


def rms_norm(torch: Torch, x, gamma):
    return torch.nn.functional.rms_norm(x, (x.shape[1],), gamma, eps=1e-5)


def batch_norm(torch: Torch, x, gamma, beta, mu, sigma2):
    return torch.nn.functional.batch_norm(x, mu, sigma2, gamma, beta, eps=1e-5)


def dropout(torch: Torch, x, mask, keep):
    return x * mask / keep


LAYERS = (
    *(thesis_cnn_layer, convolutional, convolutional_pooled, depthwise, dilated, upsampling),
    *(max_pooling, overlapping_max_pooling, average_pooling, flattening),
    *(embedding_lookup, softmax_layer, self_attention, residual, linear_layer, rms_norm),
    *(batch_norm, dropout),
)
