"""How spaces, expressions and maps look in LaTeX."""
