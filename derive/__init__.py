"""layerwise: declare a layerwise function f(x; theta); get its derivative maps and its kernels.

Names are exported lazily (PEP 562): importing a compiled kernel loads neither SymPy nor Jinja.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# the public names by room, in the order of the rooms
_HOMES = {
    "language.sizes": "dims",
    "language.spaces": "Gram Hom Index R SpaceError",
    "language.forms": "indices",
    "language.expressions": "variable",
    "language.running_sums": "cumsum",
    "language.scalars.digits": "AccuracyWarning",
    "language.roles": "Mask fixed given",
    "vocabulary.functions": """elementwise_function elu exp expm1 gelu leaky_relu log log1p
        relu sigmoid softplus sqrt tanh""",
    "vocabulary.linear": "broadcast inner mean norm outer scale total_sum transpose vec",
    "vocabulary.forming": "form",
    "vocabulary.rows": """entry expectation largest log_softmax log_softmax_entry log_sum_exp
        softmax""",
    "vocabulary.abstract": "uninterpreted",
    "vocabulary.cropping": "crop embed",
    "vocabulary.convolving": "convolution per_channel transposed_convolution",
    "vocabulary.pooling": "average_pool max_pool",
    "models.layers": "Layer",
    "models.cells": "Cell stack",
    "models.declaration": "cell layer",
    "models.networks": "Network network with_fixed with_sizes",
    "models.sharing": "with_shared",
    "models.levels": "Recurrent",
    "models.composing": "bidirectional deep recurrent",
    "training.sequence_fit": "SequenceGradient sequence_descent",
    "training.gradient_flow": "flow_of_gradients",
    "training.algorithms": "gradient gradient_descent",
    "training.fitting": "fit",
    "training.gradients": "NotFinite clip_by_norm clip_by_value",
    "training.optimise": "Adam GradientDescent",
    "training.rates": "constant cosine",
    "training.parameters": "flatten leaves map_tree",
    "training.saving": "load save",
    "evidence.proofs.components": "to_sympy",
    "evidence.proofs.proof": "prove",
    "evidence.proofs.equality": "equal",
    "writing.documents.document": "derivation",
    "writing.documents.chapter": "generic_results",
}
_HOOKED = ["tools.cache", "writing.typesetting.show"]  # rooms that register what `hooks` promises
_EXPORTS = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'derive' has no attribute {name!r}")
    home = import_module(f"{__name__}.{_EXPORTS[name]}")
    for room in _HOOKED:
        import_module(f"{__name__}.{room}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return __all__
