"""The images that candidates are scored on: class by class, in micro-batches of a set size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modularizer.datasets.images import ImageSet

Prepare = Callable[[Tensor], Tensor]
"""uint8 (n, H, W, C) to a network's input."""


@dataclass(frozen=True)
class _Block:
    """One micro-batch: its pixels, and what they were prepared to if that is kept."""

    pixels: NDArray[np.uint8]
    prepared: Tensor | None


class ClassImages:
    """Images sorted by class and cut into micro-batches that never change.

    A network's sums depend, in their last bits, on which images it is given at once. As the
    micro-batches are fixed, an image's score depends on the network and the micro-batch size
    alone: not on what else is run, in which order, or how much of it is remembered.

    Args:
        images: their labels need not be sorted.
        prepare: what the network wants done to pixels.
        device: where it runs.
        micro_batch: images at a time at most; all of one class.
        keep_bytes: prepared micro-batches are kept up to this size in all, the others are
            prepared each time.

    Attributes:
        counts: images of each class.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        prepare: Prepare,
        device: torch.device,
        micro_batch: int,
        keep_bytes: float = float("inf"),
    ) -> None:
        self._prepare = prepare
        self._device = device
        self.counts = tuple(
            int((images.labels == label).sum()) for label in range(len(images.class_names))
        )
        self.kept_bytes = 0
        self._blocks: list[list[_Block]] = []
        for label in range(len(images.class_names)):
            pixels = images.images[images.labels == label]
            starts = range(0, len(pixels), micro_batch)
            self._blocks.append(
                [self._block(pixels[start : start + micro_batch], keep_bytes) for start in starts]
            )

    def _block(self, pixels: NDArray[np.uint8], keep_bytes: float) -> _Block:
        if self.kept_bytes >= keep_bytes:
            return _Block(pixels, None)
        prepared = self._prepared(pixels)
        size = prepared.numel() * prepared.element_size()
        if self.kept_bytes + size > keep_bytes:
            return _Block(pixels, None)
        self.kept_bytes += size
        return _Block(pixels, prepared)

    def _prepared(self, pixels: NDArray[np.uint8]) -> Tensor:
        return self._prepare(torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device))

    def batches(self, label: int) -> Iterator[Tensor]:
        """The prepared micro-batches of one class, always the same ones: float (n, C, H, W)."""
        for block in self._blocks[label]:
            yield block.prepared if block.prepared is not None else self._prepared(block.pixels)

    @property
    def total(self) -> int:
        """How many images there are."""
        return sum(self.counts)
