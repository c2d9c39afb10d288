"""The layers that come with layerwise, in the user's own syntax, one family a file."""
