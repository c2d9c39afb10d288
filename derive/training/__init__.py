"""Parameters, optimisers and the gradient-descent algorithms of the thesis."""
