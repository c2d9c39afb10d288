"""The derivation of a layer, section by section, every equation checked."""
