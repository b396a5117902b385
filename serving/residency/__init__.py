"""Which models are in memory, and which one answers."""
