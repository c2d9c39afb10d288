"""Layers, cells and networks, and the programs that they ask for."""
