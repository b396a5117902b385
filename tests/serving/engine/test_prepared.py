from __future__ import annotations

import numpy as np

from serving.engine.prepared import PIXELS_AT_ONCE, alike


def test_groups_are_small_before_and_after_they_are_resized() -> None:
    small, large = np.zeros((1, 1, 1), np.uint8), np.zeros((1024, 1024, 3), np.uint8)
    images = [small, large] * 500
    groups = alike(images, input_pixels=224 * 224)
    assert sorted(index for group in groups for index in group) == list(range(1000))
    for group in groups:
        assert len({images[index].shape for index in group}) == 1
        assert len(group) * max(images[group[0]].size // 3, 224 * 224) <= PIXELS_AT_ONCE
    assert max(map(len, groups)) == PIXELS_AT_ONCE // (224 * 224)
