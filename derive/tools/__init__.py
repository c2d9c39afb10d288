"""The command line and what it runs: building, the cache, PDF, packaging."""
