"""That formula, reference, kernels and differences agree: proofs and numerical checks."""
