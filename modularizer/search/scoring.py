"""Running candidates: each is decoded, run once, and leaves one column of scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.assembly.decode import decode
from modularizer.classifier import inference


class CandidateScorer:
    """Scores masks of a network on one set of images.

    Args:
        network: the whole network.
        plan: its slicing plan.
        images: prepared images, float (N, C, H, W).
        batch_size: images at a time; bounds the memory.

    Attributes:
        passes: images x candidates run so far.
    """

    def __init__(
        self, network: nn.Module, plan: SlicingPlan, images: Tensor, *, batch_size: int = 500
    ) -> None:
        self.network = network
        self.plan = plan
        self.batches = images.split(batch_size)
        self.passes = 0

    def column(self, kept: Tensor, label: int) -> Tensor:
        """One candidate's score of its own class.

        Args:
            kept: bool (channels,).
            label: the output to score.

        Returns:
            float32 (images,), on the CPU.
        """
        candidate = decode(self.network, self.plan, kept, output=label)
        with inference(candidate):
            scores = torch.cat([candidate(batch)[:, 0] for batch in self.batches])
        self.passes += len(scores)
        return scores.cpu()

    def columns(self, masks: Tensor) -> Tensor:
        """Every candidate's score of its own class.

        Args:
            masks: bool (classes, candidates, channels).

        Returns:
            float32 (classes, candidates, images), on the CPU.
        """
        return torch.stack(
            [
                torch.stack([self.column(kept, label) for kept in of_class])
                for label, of_class in enumerate(masks)
            ]
        )

    def composed_accuracy(self, masks: Tensor, labels: Tensor) -> float:
        """The accuracy of the model composed of one mask a class.

        Args:
            masks: bool (classes, channels).
            labels: int64 (images,).
        """
        scores = self.columns(masks[:, None, :])[:, 0]
        return float((scores.argmax(dim=0) == labels).double().mean())
