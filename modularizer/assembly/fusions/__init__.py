"""Ways to put a patch's score beside a weak model's."""
