from __future__ import annotations

import os

import torch
from hypothesis import settings

# Small tensors on shared cores: one thread is faster than several, and sums keep their order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# The same examples in every run: what fails here fails everywhere.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
