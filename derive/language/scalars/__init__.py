"""Elementwise operations psi (thesis section 2.4): formulas, evaluation, Cython text."""
