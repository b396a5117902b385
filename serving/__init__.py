"""A patched model over HTTP: decode, run, answer."""
