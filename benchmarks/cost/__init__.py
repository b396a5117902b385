"""What strong networks, their class modules and composed models cost, counted and not timed."""
