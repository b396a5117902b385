"""How the networks of a patched model run: in turn or side by side, on a CPU or a GPU."""
