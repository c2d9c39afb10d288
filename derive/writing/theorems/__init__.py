"""The general results, for uninterpreted functions."""
