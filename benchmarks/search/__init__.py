"""Benchmarks of the decomposition's search: its stages, its generations, its settings."""
