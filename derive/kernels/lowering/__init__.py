"""From expressions to statements of loops."""
