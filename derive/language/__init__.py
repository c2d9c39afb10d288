"""What a formula is written in: spaces, forms, expressions, their names and their text."""
