"""PyTorch's convolutions and pools, layer by layer in value and every gradient, and as a CNN.

The library's own layers are compared in `test_kernels`; here are those of `windowed`, which between
them use every argument that PyTorch has, too.
"""

import numpy as np
import pytest
from kernels import Runner, unequal
from windowed import LAYERS, compiled_windows

from derive import network, with_sizes
from derive.language.reference import value
from derive.library.convolution import (
    convolutional,
    flattening,
    max_pooling,
    overlapping_max_pooling,
)
from derive.library.dense import affine
from derive.library.losses import cross_entropy_index
from derive.library.networks import cnn
from derive.training.algorithms import gradient

# Two float64 evaluations of the same formula, each off by fewer than 1000 roundings of 1.1e-16.
AGREEMENT = 1e-12


@pytest.fixture(scope="session")
def kernels(request):
    """The kernels of every layer in `windowed`."""
    return compiled_windows(request)


@pytest.fixture(scope="module")
def torch():
    reason = "PyTorch is an optional oracle: pip install 'layerwise[oracle]'"
    return pytest.importorskip("torch", reason=reason)


def channels(b, y):
    return b.reshape(-1, *[1] * (y.ndim - 2))


def biased(torch, x, W, b, g):
    z = torch.conv2d(x, W, stride=(1, 3))
    return channels(g, z) * torch.tanh(z + channels(b, z))


def deep(torch, x, U, W, b):
    z = torch.conv2d(torch.tanh(torch.conv2d(x, U)), W, b)
    return torch.nn.functional.max_pool2d(z * z, (2, 3), stride=2)


def vector_of_means(torch, x, W):
    z = torch.tanh(torch.conv2d(x, W, stride=(2, 1), padding=(1, 0)))
    return torch.nn.functional.avg_pool2d(z, (1, 2)).flatten(1)


def through_less(torch, x, W, V, U, T):
    less, more = torch.tanh(torch.conv1d(x, W)), torch.tanh(torch.conv1d(x, U, padding=1))
    return torch.conv1d(less, V, padding=2) + torch.conv1d(more, T, padding=1)


def pool(torch, x, *numbers, **named):
    return torch.nn.functional.max_pool2d(x, *numbers, **named)


def mean(torch, x, counted):
    return torch.nn.functional.avg_pool2d(x, (2, 3), 2, 1, count_include_pad=counted)


def signal_pool(torch, x):
    return torch.nn.functional.max_pool1d((x * x)[:, None], 3, 2, 1)[:, 0]


def widened(torch, x, W):
    return torch.conv_transpose2d(x, W, None, (3, 2), (1, 0), (2, 1), 1, (1, 2))


def groups_of_sizes(torch, x, W):
    return torch.tanh(torch.conv1d(x, W, None, 2, 1, 1, 2))[..., : x.shape[2] // 2]


def summed(torch, x, W):
    return torch.tanh(torch.conv2d(x.sum(1, keepdim=True), W[:, None], stride=2, padding=1))


def several_pools(torch, x):
    def largest(z, k, pad):
        return torch.nn.functional.max_pool1d(z, k, 1, pad)

    return largest(x, 2, 0) ** 2 + largest(largest(-x, 2, 0), 3, 1)


def any_groups(torch, x, W):
    return torch.conv1d(x, W, padding=1, groups=x.shape[1] // W.shape[1])


def with_itself(torch, x):
    """Each image of the batch by itself."""
    each = [torch.conv2d(z.sum(0)[None, None], z[:, None], padding=(2, 1))[0] for z in x]
    return torch.stack(each)


ORACLES = {
    "signal": lambda torch, x, W: torch.conv1d(x, W, None, 2, 2, 2),
    "uneven": lambda torch, x, W: torch.conv2d(x, W, None, (2, 1), (1, 0), (1, 2)),
    "volume": lambda torch, x, W: torch.conv3d(x, W, None, (1, 2, 1), (0, 1, 0)),
    "two_groups": lambda torch, x, W: torch.conv2d(x, W, None, 1, (0, 1), 1, 2),
    "groups_of_sizes": groups_of_sizes,
    "multiplied": lambda torch, x, W: torch.conv2d(x, W, None, 1, 1, 1, x.shape[1]),
    "summed": summed,
    "biased": biased,
    "widened": widened,
    "widened_in_groups": lambda torch, x, W: torch.conv_transpose1d(x, W, None, 2, 0, 0, 2),
    "widened_to_one": lambda torch, x, W: torch.conv_transpose1d(x, W[:, None], None, 2, 1, 1),
    "overlapping": lambda torch, x: pool(torch, x, (3, 2), (2, 1), (1, 0)),
    "signal_pool": signal_pool,
    "averaged": lambda torch, x: pool(torch, x, 3, 2, 1),
    "of_relu": lambda torch, x: pool(torch, torch.relu(x), 2),
    "averaged_of_relu": lambda torch, x: torch.nn.functional.max_pool1d(torch.relu(x), 2, 1),
    "of_convolution": lambda torch, x, W, b: pool(torch, torch.conv2d(x, W, b, padding=1), 2),
    "over_the_whole": lambda torch, x: torch.nn.functional.adaptive_max_pool2d(torch.tanh(x), 1),
    "over_sizes": lambda torch, x, p: torch.nn.functional.max_pool1d(x, p, 1),
    "mean_counted": lambda torch, x: mean(torch, x, True),
    "mean_uncounted": lambda torch, x: mean(torch, x, False),
    "mean_of_the_whole": lambda torch, x: torch.nn.functional.adaptive_avg_pool2d(x, 1),
    "deep": deep,
    "vector_of_means": vector_of_means,
    "through_less": through_less,
    "far": lambda torch, x, W: torch.conv1d(x, W, None, 3, 5),
    "any_groups": any_groups,
    "with_itself": with_itself,
    "several_pools": several_pools,
}


def test_every_layer_that_pytorch_has_is_compared():
    own = {"cropped", "embedded", "blocks", "padded_product", "beyond"}  # by hand, in `windowed`
    assert set(LAYERS) - set(ORACLES) == own


def agree(found, expected):
    """To within the tolerance of the largest entry."""
    expected = np.asarray(expected)
    size = np.abs(expected).max()
    return np.shape(found) == expected.shape and np.abs(found - expected).max() <= AGREEMENT * size


@pytest.mark.parametrize("name", ORACLES)
def test_values_and_gradients_are_those_of_pytorch(torch, kernels, name):
    layer = LAYERS[name]
    runner = Runner(kernels[name], layer, unequal(layer), 3, np.float64)
    values = runner.point("backward")
    given = {a.name: values[a.variable] for a in runner.programs["backward"].arguments}
    y_bar = given.pop("y_bar")
    (y,), bars = runner.results("forward", values), runner.results("backward", values)
    tensors = {key: torch.tensor(array, requires_grad=True) for key, array in given.items()}
    sizes = {"p": runner.named_sizes()["p"]} if name == "over_sizes" else {}
    expected = ORACLES[name](torch, *tensors.values(), **sizes)
    assert agree(y, expected.detach().numpy())
    expected.backward(torch.from_numpy(y_bar))
    for key, bar in zip(tensors, bars, strict=True):
        assert agree(bar, tensors[key].grad.numpy()), key


@pytest.mark.parametrize("name", ["of_relu", "overlapping"])
def test_ties_go_where_pytorch_sends_them(torch, kernels, name):
    """The first place; entries are 0 and 1."""
    runner = Runner(kernels[name], LAYERS[name], unequal(LAYERS[name]), 3, np.float64)
    values = runner.point("backward")
    x, y_bar = (values[a.variable] for a in runner.programs["backward"].arguments)
    x[...] = np.random.default_rng(0).integers(0, 2, x.shape)
    (bar,) = runner.results("backward", values)
    tensor = torch.tensor(x, requires_grad=True)
    ORACLES[name](torch, tensor).backward(torch.from_numpy(y_bar))
    assert agree(bar, tensor.grad.numpy())


# --- a network


CNN = network(
    "small_cnn",
    first=convolutional,
    pool=overlapping_max_pooling,
    second=convolutional,
    halve=max_pooling,
    flat=flattening,
    output=affine,
    loss=cross_entropy_index,
)
SIZES = {"c": 2, "n": 9, "l": 7, "first_o": 3, "second_o": 4, "output_n": 5}


def cnn_by_torch(torch, x, k, t):
    """The mean loss and its gradient by parameter."""
    functional = torch.nn.functional
    t = {key: torch.tensor(array, requires_grad=True) for key, array in t.items()}
    h = torch.relu(torch.conv2d(torch.from_numpy(x), t["first_W"], t["first_b"], padding=1))
    h = functional.max_pool2d(h, 3, 2, 1)
    h = torch.relu(torch.conv2d(h, t["second_W"], t["second_b"], padding=1))
    h = functional.max_pool2d(h, 2).flatten(1) @ t["output_W"].T + t["output_b"]
    loss = functional.cross_entropy(h, torch.from_numpy(k))
    loss.backward()
    return loss.item(), {key: tensor.grad.numpy() for key, tensor in t.items()}


def drawn(made, sizes, seed=0):
    """Parameters that are all different from zero."""
    rng = np.random.default_rng(seed)
    theta = made.initial(rng, sizes)
    return {key: a + 0.1 * rng.normal(size=a.shape) for key, a in made.flat(theta).items()}


def of_pytorch(torch, made):
    """The loss of a batch and its gradient by Algorithm 3.2.1, on the NumPy reference."""
    theta, rng = drawn(CNN, SIZES), np.random.default_rng(1)
    x, k = rng.normal(size=(4, 2, 9, 7)), rng.integers(0, 5, 4)
    J, expected = cnn_by_torch(torch, x, k, theta)
    found = made.flat(gradient(made, x, k, made.tree(theta), "classification"))
    assert set(found) == set(expected)
    loss = made.loss_layer
    losses = [
        value(loss.output, {a.variable: {"x": p, "k": q, **theta}[a.name] for a in loss.arguments})
        for p, q in zip(x, k, strict=True)
    ]
    return all(agree(found[key], expected[key]) for key in found) and agree(np.mean(losses), J)


def test_a_cnn_has_the_loss_and_the_gradient_of_pytorch(torch):
    assert of_pytorch(torch, with_sizes(CNN, {"n": 9, "l": 7}))


def test_a_cnn_for_images_of_any_size_has_them_too(torch):
    """Its layers within have derived extents, as floor(n/2 + 1/2)."""
    assert of_pytorch(torch, CNN)


def test_the_librarys_cnn_has_the_loss_and_the_gradient_of_pytorch(torch):
    """Its compiled kernel, of one call."""
    from derive.generated import cnn as compiled

    sizes = {"c": 2, "n": 6, "l": 5, "first_o": 3, "second_o": 4, "output_n": 5}
    theta, rng = drawn(cnn, sizes), np.random.default_rng(1)
    x, k = rng.normal(size=(4, 2, 6, 5)), rng.integers(0, 5, 4)
    results = [r.name for r in compiled.gradient.results]
    found = dict(zip(results, compiled.gradient(x, k, **theta), strict=True))
    t = {key: torch.tensor(array, requires_grad=True) for key, array in theta.items()}
    h = torch.relu(torch.conv2d(torch.from_numpy(x), t["first_W"], t["first_b"], padding=1))
    h = torch.relu(torch.conv2d(h, t["second_W"], t["second_b"], padding=1))
    h = torch.nn.functional.max_pool2d(h, 2).flatten(1) @ t["output_W"].T + t["output_b"]
    loss = torch.nn.functional.cross_entropy(h, torch.from_numpy(k))
    loss.backward()
    assert agree(found["J"], loss.detach().numpy())
    for key, tensor in t.items():
        assert agree(found[f"{key}_bar"], tensor.grad.numpy()), key
