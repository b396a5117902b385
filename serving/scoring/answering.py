"""A classifier's answers to batches of images: prepared in any thread, run in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier, inference

Model = Classifier | PatchedClassifier

# Pixels turned into floats at once: 1 M take some 25 MB with three channels.
_PIXELS_AT_ONCE = 1024 * 1024


@dataclass(frozen=True)
class Answers:
    """What a model says to some images.

    Attributes:
        scores: float32 (N, classes): softmax, or what the fusion makes of it if it is patched.
        weak_scores: the weak model's softmax, float32 (N, classes); None unless it is patched.
    """

    scores: NDArray[np.float32]
    weak_scores: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def finite(self) -> NDArray[np.bool_]:
        """(N,): whether no score of an image is NaN or infinite."""
        both = self.scores if self.weak_scores is None else self.scores + self.weak_scores
        return np.asarray(np.isfinite(both).all(axis=1))

    def take(self, which: NDArray[np.bool_]) -> Answers:
        """Those where ``which`` (N,) is true."""
        weak = None if self.weak_scores is None else self.weak_scores[which]
        return Answers(self.scores[which], weak)


class Preparation:
    """Images of one batch on their way to a model's inputs.

    They are resized and normalised as they come, images of one shape together, so that no more
    of them than `_PIXELS_AT_ONCE` and one wait at full size.

    Args:
        model: whose inputs are made; nothing of it is changed.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: dict[tuple[int, ...], list[tuple[int, NDArray[np.uint8]]]] = {}
        self._pixels = 0
        self._count = 0
        self._places: list[int] = []
        self._pieces: list[list[Tensor]] = []

    def add(self, image: NDArray[np.uint8]) -> None:
        """Take the next image, uint8 (H, W, 1 or 3)."""
        self._waiting.setdefault(image.shape, []).append((self._count, image))
        self._count += 1
        self._pixels += image.shape[0] * image.shape[1]
        if self._pixels > _PIXELS_AT_ONCE:
            self._prepare()

    def inputs(self) -> list[Tensor]:
        """Each branch's input for all images, in the order they came; none if there was none."""
        self._prepare()
        if len(self._pieces) <= 1:  # none, or all of one shape: in order already
            return self._pieces[0] if self._pieces else []
        order = torch.from_numpy(np.argsort(self._places))
        with torch.inference_mode():
            return [torch.cat(parts)[order] for parts in zip(*self._pieces, strict=True)]

    def _prepare(self) -> None:
        with torch.inference_mode():
            for group in self._waiting.values():
                pixels = torch.from_numpy(np.stack([image for _, image in group]))
                if isinstance(self._model, PatchedClassifier):
                    self._pieces.append(self._model.prepare(pixels))
                else:
                    self._pieces.append([self._model.preprocessing.prepare(pixels)])
                self._places += [place for place, _ in group]
        self._waiting.clear()
        self._pixels = 0


def answer(model: Model, inputs: Sequence[Tensor]) -> Answers:
    """Run a model.

    Args:
        model: on the CPU, where its inputs are.
        inputs: as `Preparation` makes them, of at least one image.
    """
    with inference(model):
        if isinstance(model, PatchedClassifier):
            branches = zip(model.branches, inputs, strict=True)
            both = model.combine([branch.run(x) for branch, x in branches])
            return Answers(both.scores.numpy(), both.weak_scores.numpy())
        (prepared,) = inputs
        return Answers(torch.softmax(model.run(prepared), dim=1).numpy(), None)
