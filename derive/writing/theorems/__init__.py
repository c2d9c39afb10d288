"""The general results, for functions that are not interpreted."""
