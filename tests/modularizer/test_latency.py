from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from torch import Tensor, nn

from modularizer.latency import measure_latency


class Counting(nn.Module):
    """Gives nothing and remembers who was asked, in which mode and with how many images."""

    def __init__(self, name: str, asked: list[tuple[str, bool, int]]) -> None:
        super().__init__()
        self.name, self.asked = name, asked

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append((self.name, self.training, len(images)))
        return images


def test_models_take_turns_on_single_images_and_the_first_rounds_do_not_count() -> None:
    asked: list[tuple[str, bool, int]] = []
    models = [Counting("a", asked), Counting("b", asked)]
    # each reading of the clock is later than the one before by one millisecond more
    ticks: Iterator[int] = (1_000_000 * n * (n + 1) // 2 for n in count())
    images = np.zeros((4, 2, 2, 1), np.uint8)
    found = measure_latency(models, images, repeats=5, clock_ns=lambda: next(ticks))
    assert asked == [("a", False, 1), ("b", False, 1)] * 8
    for place, latency in enumerate(found):
        taken = [1 + 2 * (2 * number + place) for number in range(3, 8)]
        assert latency.n == 5
        assert latency.median_ms == np.median(taken)
        assert [latency.low_ms, latency.high_ms] == list(np.percentile(taken, (25, 75)))
    assert all(model.training for model in models)
    assert torch.is_grad_enabled()
