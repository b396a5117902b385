"""A weak classifier with class modules plugged in: the paper's section 4."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.fusion import Fusion, require_fitting_fusion
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.classifier import Classifier, inference
from modularizer.devices import device_of
from modularizer.errors import PatchError
from modularizer.preprocessing import Preprocessing, as_tensor

Branch = Classifier | ClassModule


@dataclass(frozen=True)
class Patch:
    """A class module and how its score is calibrated; ``class_name`` is the class it fixes."""

    class_module: ClassModule
    calibration: Calibration

    @property
    def class_name(self) -> str:
        """The class that the class module scores, and the weak model knows by the same name."""
        return self.class_module.class_name


@dataclass(frozen=True)
class PatchedScores:
    """Both answers, side by side.

    Attributes:
        scores: float32 (N, classes): the weak side with each patched class's entry as the fusion
            makes it. By the paper's rule scores, not probabilities: they don't sum to 1.
        weak_scores: float32 (N, classes): the weak model's softmax, untouched.
    """

    scores: Tensor
    weak_scores: Tensor


class PatchedClassifier(nn.Module):
    """A weak classifier that answers with class modules beside it; its weights are untouched.

    Args:
        weak: the weak classifier.
        patches: one for each class to fix, at most one a class; classes are matched by name.
        fusion: how their scores join the weak model's; None for the paper's replacement.

    Raises:
        PatchError: if a patch's class is unknown to the weak model, or is patched twice, or the
            fusion does not go with the calibrations.
    """

    def __init__(
        self, weak: Classifier, patches: Sequence[Patch], fusion: Fusion | None = None
    ) -> None:
        super().__init__()
        if not patches:
            raise PatchError("a patched classifier needs at least one class module")
        columns = {name: column for column, name in enumerate(weak.class_names)}
        for patch in patches:
            if patch.class_name not in columns:
                raise PatchError(
                    f"the weak model has no class {patch.class_name!r} to patch; "
                    f"it has {', '.join(weak.class_names)}"
                )
        names = [patch.class_name for patch in patches]
        if len(set(names)) != len(names):
            raise PatchError(f"each class takes one patch at most; found {', '.join(names)}")
        self.fusion = fusion or Replacement()
        require_fitting_fusion(self.fusion, [patch.calibration for patch in patches])
        self.weak = weak
        self.patches = tuple(patches)
        self._columns = [columns[name] for name in names]
        self.class_modules = nn.ModuleList(patch.class_module for patch in patches)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The weak model's classes, in output order."""
        return self.weak.class_names

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The networks to run on each image: the weak one, then each patch's, in patch order."""
        return (self.weak, *(patch.class_module for patch in self.patches))

    def only(self, class_names: Collection[str]) -> PatchedClassifier:
        """The same model with some of its patches; the networks are shared, not copied.

        Args:
            class_names: whose patches stay, at least one.

        Raises:
            PatchError: if a class has no patch here, or none is given.
        """
        wanted = dict.fromkeys(class_names)
        patched = {patch.class_name: index for index, patch in enumerate(self.patches)}
        for name in wanted:
            if name not in patched:
                raise PatchError(f"there is no patch for {name!r}; there are {', '.join(patched)}")
        chosen = [index for name, index in patched.items() if name in wanted]
        fusion = self.fusion.for_patches(chosen)
        return PatchedClassifier(self.weak, [self.patches[i] for i in chosen], fusion)

    def prepare(self, images: Tensor) -> list[Tensor]:
        """Each branch's own input for uint8 images (N, H, W, C); equal preparations are shared."""
        prepared: dict[Preprocessing, Tensor] = {}
        for branch in self.branches:
            if branch.preprocessing not in prepared:
                prepared[branch.preprocessing] = branch.preprocessing.prepare(images)
        return [prepared[branch.preprocessing] for branch in self.branches]

    def combine(self, outputs: Sequence[Tensor]) -> PatchedScores:
        """Both answers from what each branch gave.

        Args:
            outputs: weak logits (N, classes), then each patch's raw score (N,), in branch order.
        """
        weak_logits, *raw_scores = outputs
        scores = self.fusion.combine(
            weak_logits,
            self._columns,
            [patch.calibration for patch in self.patches],
            raw_scores,
        )
        return PatchedScores(scores, torch.softmax(weak_logits, dim=1))

    def outputs(self, images: Tensor) -> list[Tensor]:
        """What each branch gives for uint8 images (N, H, W, C), run in turn; see `combine`."""
        inputs = self.prepare(images)
        return [branch.run(x) for branch, x in zip(self.branches, inputs, strict=True)]

    def both(self, images: Tensor) -> PatchedScores:
        """The weak and the patched answer for uint8 images (N, H, W, C), branches in turn."""
        return self.combine(self.outputs(images))

    def forward(self, images: Tensor) -> Tensor:
        """Patched scores of uint8 images (N, H, W, C): float32 (N, classes)."""
        return self.both(images).scores

    def changed_by(self, *, weak_label: int, label: int) -> tuple[str, ...]:
        """Which patches moved an answer from ``weak_label`` to ``label`` (class indices).

        Every fusion leaves the unpatched classes in the weak model's order, so an answer can only
        move from a patched class or to one; the patches of these two are named, and none if the
        answer stayed.
        """
        if weak_label == label:
            return ()
        moved = {self.class_names[weak_label], self.class_names[label]}
        return tuple(patch.class_name for patch in self.patches if patch.class_name in moved)


def predict_both(
    patched: PatchedClassifier, images: NDArray[np.uint8], *, batch_size: int = 500
) -> PatchedScores:
    """Both answers for many images, in batches; each network runs once.

    Args:
        patched: the patched classifier.
        images: uint8 (N, H, W, C), at least one.
        batch_size: images a batch; bounds the memory.

    Returns:
        Scores and weak scores, float32 (N, classes), on the CPU.
    """
    device = device_of(patched)
    with inference(patched):
        found = [
            patched.both(as_tensor(images[start : start + batch_size], device))
            for start in range(0, len(images), batch_size)
        ]
    return PatchedScores(
        scores=torch.cat([one.scores for one in found]).cpu(),
        weak_scores=torch.cat([one.weak_scores for one in found]).cpu(),
    )
