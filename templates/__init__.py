"""The frames of emitted modules."""
