from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modularizer.search.diversity import diff, jaccard_distances


@given(
    masks=st.integers(1, 6),
    channels=st.integers(1, 12),
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_jaccard_and_diff_equal_those_of_python_sets_of_kernels(
    masks: int, channels: int, seed: int, share: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(masks, channels, generator=generator) < share
    weights = torch.randint(1, 4, (channels,), generator=generator)
    kernels = [
        {(c, copy) for c in row.nonzero().flatten().tolist() for copy in range(int(weights[c]))}
        for row in kept
    ]

    def distance(a: set[tuple[int, int]], b: set[tuple[int, int]]) -> float:
        return 1 - len(a & b) / len(a | b) if a | b else 0.0

    found = jaccard_distances(kept, kept, weights)
    for i, a in enumerate(kernels):
        for j, b in enumerate(kernels):
            assert float(found[i, j]) == pytest.approx(distance(a, b), abs=1e-6)
    pairs = [distance(a, b) for a, b in combinations(kernels, 2)]
    expected = sum(pairs) / len(pairs) if pairs else 0.0
    assert diff(kept, weights) == pytest.approx(expected, abs=1e-6)


def test_counts_of_a_large_network_are_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(3, 5000, generator=generator) < 0.5
    weights = torch.randint(1, 7, (5000,), generator=generator)
    shared = int((weights * (kept[0] & kept[1])).sum())
    union = int((weights * (kept[0] | kept[1])).sum())
    assert float(jaccard_distances(kept, kept, weights)[0, 1]) == pytest.approx(
        1 - shared / union, 1e-7
    )
