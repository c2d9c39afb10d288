"""The commands: building, the cache, LaTeX as PDF, the package itself."""
