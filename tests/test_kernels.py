"""Kernels as a user meets them: a layer of one's own from its declaration alone, the library's
against PyTorch, large logits, errors at the edge, bound calls, and an import without SymPy."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import torch_layers
from declared import gate
from kernels import DTYPES, Runner, kernels_of
from shipped import SINGLE

from derive import library
from derive.evidence.proofs.proof import prove
from derive.kernels.statements.loops import Gemm
from derive.language.spaces import Product
from derive.models.networks import Network

SIZES = {"batch": 5, "n": 3, "m": 4, "k": 6}
SIZES |= {"o": 4, "c": 2, "l": 7, "p": 2, "q": 3, "t": 2, "v": 5}  # of images and of rows


# --- a layer that is in no library, from its declaration alone


def test_its_maps_are_derived():
    assert gate.name not in library.layers()
    maps = [gate.D(), *(gate.nabla(name) for name in ("A", "B", "c"))]
    assert [str(found.domain) for found in maps] == ["R(m)", "R(n, m)", "R(n, m)", "R(n)"]
    assert all(str(found.codomain) == "R(n)" for found in maps)
    assert all(found.adjoint.adjoint is found for found in maps)
    second = [gate.D2(), gate.D_nabla("A"), gate.nabla_D("B"), gate.nabla2("A", "c")]
    assert [str(found.hook().adjoint.codomain) for found in second] == [
        "R(m)",
        "R(n, m)",
        "R(m)",
        "R(n)",
    ]


def test_its_maps_are_proved():
    verdicts = prove(gate)
    assert len(verdicts) >= 2 * (4 + 16)
    assert all(verdict.proved for verdict in verdicts)


@pytest.mark.parametrize("dtype", DTYPES)
def test_its_kernels_are_right(compiled, dtype):
    runner = Runner(compiled["gate"], gate, dict(zip(gate.sizes, (4, 3), strict=True)), 5, dtype)
    assert list(runner.programs) == ["forward", "tangent", "backward", "tangent_backward"]
    assert all(runner.errors(name) <= 1 for name in runner.programs)


def test_its_kernels_are_matrix_products_and_one_nest():
    kernel = kernels_of(gate)["forward"]
    assert sum(isinstance(inner, Gemm) for step in kernel.steps for inner in step.body) == 2


# --- the library against PyTorch


@pytest.fixture(scope="module")
def torch():
    reason = "PyTorch is an optional oracle: pip install 'layerwise[oracle]'"
    return pytest.importorskip("torch", reason=reason)


def dense(psi):
    def layer_(torch, x, W, b):
        return getattr(torch.nn.functional, psi)(x @ W.T + b)

    return layer_


def softmax(torch, x, W, b):
    return torch.softmax(x @ W.T + b, dim=1)


def affine(torch, x, W, b):
    return torch.nn.functional.linear(x, W, b)


def tanh(torch, x, W, b):
    return torch.tanh(x @ W.T + b)


def layer_norm(torch, x, gamma, beta):
    return torch.nn.functional.layer_norm(x, (x.shape[1],), gamma, beta, eps=1e-5)


def gated(torch, x, A, B, c):
    return (x @ A.T) * torch.sigmoid(x @ B.T + c)


def bilinear(torch, x, y, W):
    return torch.nn.functional.bilinear(x, y, W.transpose(1, 2))


def cosine(torch, x, y):
    return torch.nn.functional.cosine_similarity(x, y, dim=1)


def normalise(torch, x, alpha):
    return alpha * torch.nn.functional.normalize(x, dim=1)


def squared_loss(torch, x, y):
    return torch.nn.functional.mse_loss(x, y, reduction="none").sum(1) / 2


def cross_entropy(torch, x, y):
    return torch.nn.functional.cross_entropy(x, y, reduction="none")


def readout_of_both(torch, h, g, V, U, c):
    return h @ V.T + g @ U.T + c


def vanilla_rnn(torch, h, x, W, U, b):
    return torch.ops.aten.rnn_tanh_cell(x, h, U, W, b, torch.zeros_like(b))


def leaky_rnn(torch, h, x, W, U, b, alpha):
    return torch.lerp(h, torch.tanh(h @ W.T + x @ U.T + b), alpha)


def independent_rnn(torch, h, x, w, U, b):
    return torch.tanh(w * h + x @ U.T + b)


def gru(torch, h, x, W, U, b, c):
    n = h.shape[1]
    hidden = torch.cat([torch.zeros(2 * n, dtype=h.dtype), c])
    return torch.ops.aten.gru_cell(
        x, h, U.reshape(3 * n, -1), W.reshape(3 * n, n), b.ravel(), hidden
    )


def gru_reset_before(torch, h, x, W, U, b, V):
    r, z = (torch.sigmoid(h @ W[k].T + x @ U[k].T + b[k]) for k in range(2))
    return torch.lerp(torch.tanh((r * h) @ V.T + x @ U[2].T + b[2]), h, z)


ORACLES = {
    "readout": affine,
    "readout_of_both": readout_of_both,
    "vanilla_rnn": vanilla_rnn,
    "leaky_rnn": leaky_rnn,
    "independent_rnn": independent_rnn,
    "gru": gru,
    "gru_reset_before": gru_reset_before,
    **{f"dense_{psi}": dense(psi) for psi in ("sigmoid", "relu", "leaky_relu")},
    **{f"dense_{psi}": dense(psi) for psi in ("elu", "softplus", "gelu")},
    "dense": tanh,
    "dense_softmax": softmax,
    "affine": affine,
    "layer_norm": layer_norm,
    "gated": gated,
    "bilinear": bilinear,
    "cosine": cosine,
    "normalise": normalise,
    "squared_loss": squared_loss,
    "cross_entropy": cross_entropy,
    "cross_entropy_index": cross_entropy,
    **{layer_.__name__: layer_ for layer_ in torch_layers.LAYERS},
}
# Two float64 evaluations of the same formula, each off by fewer than 1000 roundings of 1.1e-16.
AGREEMENT = 1e-12


def generated(name):
    return import_module(f"derive.generated.{name}")


def arrays(kernel, seed=0):
    """Arguments of a kernel at unequal sizes; a target distribution is one."""
    rng = np.random.default_rng(seed)
    values = []
    for argument in kernel.arguments:
        (leaf,) = argument.leaves
        shape = tuple(SIZES.get(extent, extent) for extent in leaf.extents)
        if leaf.kind == "index":
            values.append(rng.integers(0, SIZES[leaf.bound], shape))
        elif leaf.kind == "mask":
            values.append(rng.integers(0, 2, shape).astype(float))
        elif argument.role == "fixed":
            values.append(0.5 + rng.random(shape))  # as a variance is
        elif argument.role == "given":
            drawn = rng.random(shape)
            values.append(drawn / drawn.sum(axis=1, keepdims=True))
        else:
            values.append(rng.normal(size=shape))
    return values


def run(module, given, y_bar):
    """The values, and every gradient of <y_bar, y>."""
    sizes = {name: SIZES[name] for name in module.forward.sizes}
    saved = np.empty(module.forward.saved_size(**sizes)) if module.forward.saved_role else None
    y = module.forward(*given, **({} if saved is None else {"saved": saved}))
    more = {"saved": saved} if module.backward.saved_role else {}
    bars = module.backward(*given, y_bar, **more)
    names = [result.name.removesuffix("_bar") for result in module.backward.results]
    return y, dict(zip(names, bars if len(names) > 1 else (bars,), strict=True))


def by_torch(torch, name, module, given, y_bar):
    names = [argument.name for argument in module.forward.arguments]
    tensors = {
        key: torch.from_numpy(np.array(value)) for key, value in zip(names, given, strict=True)
    }
    smooth = [result.name.removesuffix("_bar") for result in module.backward.results]
    for key in smooth:
        tensors[key].requires_grad_()
    y = ORACLES[name](torch, *tensors.values())
    y.backward(torch.from_numpy(y_bar))
    return y.detach().numpy(), {key: tensors[key].grad.numpy() for key in smooth}


def agree(found, expected):
    size = np.abs(expected).max()
    return found.shape == expected.shape and np.abs(found - expected).max() <= AGREEMENT * size


def test_every_layer_of_the_library_that_pytorch_has_is_compared():
    """Networks are made of these; layers of direct products are compared over sequences."""
    compared = {
        name
        for name, layer_ in SINGLE.items()
        if not isinstance(layer_, Network)
        and not any(isinstance(a.variable.space, Product) for a in layer_.arguments)
    }
    assert set(ORACLES) == compared


@pytest.mark.parametrize("name", ORACLES)
def test_values_and_gradients_are_those_of_pytorch(torch, name):
    module = generated(name)
    given = arrays(module.forward)
    y_bar = np.random.default_rng(1).normal(size=np.shape(module.forward(*given)))
    (y, bars), (y_torch, bars_torch) = (
        run(module, given, y_bar),
        by_torch(torch, name, module, given, y_bar),
    )
    assert agree(y, y_torch)
    for key, expected in bars_torch.items():
        assert agree(bars[key], expected), key


@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_index"])
def test_logits_of_a_thousand_are_as_good(torch, name):
    module = generated(name)
    _, target = arrays(module.forward)
    rng = np.random.default_rng(2)
    x = rng.choice([-1e3, 1e3, 0.0, 998.5], size=(5, 3))
    given = [x, target]
    y_bar = np.ones(5)
    (y, bars), (y_torch, bars_torch) = (
        run(module, given, y_bar),
        by_torch(torch, name, module, given, y_bar),
    )
    assert np.isfinite(y).all() and agree(y, y_torch) and agree(bars["x"], bars_torch["x"])


def test_float32_logits_of_a_thousand_are_finite_and_right():
    x = np.array([[1e3, -1e3, 0], [-1e3, -1e3, -1e3]], np.float32)
    y = generated("cross_entropy_index").forward(x, np.array([1, 2]))
    assert y.dtype == np.float32
    assert np.abs(y - [2e3, np.log(3)]).max() <= 2e3 * np.finfo(np.float32).eps


def test_the_mean_loss_and_its_gradient_come_in_one_call(torch):
    module = generated("cross_entropy_index")
    x, k = arrays(module.forward)
    J, x_bar = module.gradient(x, k)
    tensor = torch.from_numpy(x.copy()).requires_grad_()
    loss = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(k))
    loss.backward()
    assert agree(np.asarray(J), loss.detach().numpy()) and agree(x_bar, tensor.grad.numpy())


# --- the edge of a generated kernel


def good():
    x, W, b = np.ones((2, 4)), np.ones((3, 4)), np.ones(3)
    return {"x": x, "W": W, "b": b, "y_bar": np.ones((2, 3)), "saved": np.ones(6)}


readonly = np.ones((3, 4))
readonly.flags.writeable = False
MISTAKES = {
    "shape": ("forward", {"W": np.ones((3, 5))}, ValueError, "dense.forward: W has shape"),
    "axes": ("forward", {"b": np.ones((3, 1))}, ValueError, "dense.forward: b has shape"),
    "dtype": (
        "forward",
        {"b": np.ones(3, np.float32)},
        TypeError,
        "dense.forward: b has dtype float32",
    ),
    "None": ("forward", {"W": None}, TypeError, "dense.forward: W is None"),
    "masked": ("forward", {"b": np.ma.ones(3)}, TypeError, "dense.forward: b is a masked array"),
    "missing": ("backward", {"saved": None}, TypeError, "dense.backward: saved is missing"),
    "out": ("forward", {"out": np.ones((2, 5))}, ValueError, "dense.forward: y has shape"),
    "order": (
        "backward",
        {"out": (None, np.ones((4, 3)).T, None)},
        ValueError,
        "dense.backward: W_bar is written to and must be C",
    ),
    "readonly": (
        "backward",
        {"out": (None, readonly, None)},
        ValueError,
        "dense.backward: W_bar is read-only",
    ),
    "empty": (
        "forward",
        {"W": np.ones((0, 4)), "b": np.ones(0)},
        ValueError,
        "dense.forward: n = 0 came from W, must be",
    ),
}


@pytest.mark.parametrize(("kernel", "wrong", "error", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_an_error_names_the_kernel_and_the_argument(kernel, wrong, error, sentence):
    found = getattr(generated("dense"), kernel)
    names = [
        *(argument.name for argument in found.arguments),
        *(["saved"] if kernel == "backward" else []),
    ]
    given = {name: value for name, value in good().items() if name in names} | wrong
    with pytest.raises(error, match=sentence):
        found(**given)


def test_what_is_written_may_not_overlap_what_is_read():
    b = good()["b"]
    square = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"dense\.forward: y is written to and overlaps x"):
        generated("dense").forward(square, np.ones((3, 3)), b, out=square)
    assert np.array_equal(square, np.ones((2, 3)))


def test_a_bound_call_is_a_call():
    module, rng = generated("dense"), np.random.default_rng(3)
    x, W, b = rng.normal(size=(2, 4)), rng.normal(size=(3, 4)), rng.normal(size=3)
    y, saved = np.empty((2, 3)), np.empty(6)
    bound = module.forward.bind(x, W, b, out=y, saved=saved)
    for scale in (1.0, -2.0):
        x *= scale
        assert bound() is y and np.array_equal(y, module.forward(x, W, b))
    bars = module.backward(x, W, b, y, saved=saved)
    assert all(
        np.array_equal(a, c)
        for a, c in zip(bars, module.backward.bind(x, W, b, y, saved=saved)(), strict=True)
    )


def test_a_kernel_is_imported_without_sympy_and_jinja():
    code = (
        "import sys; from derive.generated import dense; import numpy as np; "
        "dense.forward(np.ones((2, 4)), np.ones((3, 4)), np.ones(3)); "
        "sys.exit(' '.join({'sympy', 'jinja2', 'Cython'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
