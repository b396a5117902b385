"""Decompose a strong CNN into one small network per class, and patch a weak CNN with them."""
