"""The command line: the only place that prints. Commands import what is heavy when they run."""

__version__ = "0.1.0"
