"""Derivatives and adjoints of expressions as linear maps (thesis chapters 2 and 3)."""
