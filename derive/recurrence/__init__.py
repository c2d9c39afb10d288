"""Real-time recurrent learning, backpropagation through time and their hybrid, as formulas."""
