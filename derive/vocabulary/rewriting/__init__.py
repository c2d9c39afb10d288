"""Laws that a formula is rewritten by before it is derived."""
