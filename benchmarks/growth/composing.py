"""More and more classes: composing their modules, cutting one, comparing them, joining scores.

Scores are drawn: what is measured is what is done with them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.growth.curves import Curves, in_turns, seconds
from benchmarks.growth.held import largest_tensor_bytes
from benchmarks.growth.settings import GrowthSettings
from benchmarks.growth.subject import CALIBRATION, sized_classifier, tiny_classifier
from benchmarks.networks import plan_of, random_mask
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.assembly.patched import Patch, PatchedClassifier
from modularizer.datasets.images import ImageSet
from modularizer.search.diversity import diff
from modularizer.search.images import ClassImages
from modularizer.search.scoring import CandidateScorer

_SHORTEST_SECONDS = 0.01


def measure_composing(
    settings: GrowthSettings, *, told: Callable[[str], None] = lambda line: None
) -> Curves:
    """Time what a decomposition and a patched model do with so many classes.

    Args:
        settings: sizes and repeats.
        told: called with a line whenever something is done.

    Returns:
        ``compose_seconds``: accuracy of one module a class side by side, from scores that are
        known; ``compose_peak_bytes``: of tensors, meanwhile;
        ``plan_seconds``, ``decode_seconds``: cutting one module out of a strong network with so
        many classes; ``diff_seconds``, ``diff_peak_bytes``: mean Jaccard distance of all pairs;
        ``combine_ms``, ``combine_all_ms``: joining the scores of a batch, of one patch and of
        one for each class.
    """
    curves = Curves("classes")
    with ExitStack() as stack:
        subjects = {}
        for classes in settings.classes:
            subject = subjects[classes] = Subject(classes, settings)
            stack.enter_context(subject.scorer)
            subject.warm()
            told(f"{classes} classes are prepared")
        for classes in in_turns(settings.classes, settings.repeats, settings.seed):
            for name, found in subjects[classes].times().items():
                curves.add(name, classes, found)
        for classes, subject in subjects.items():
            curves.add("compose_peak_bytes", classes, largest_tensor_bytes(subject.compose))
            curves.add("diff_peak_bytes", classes, largest_tensor_bytes(subject.compare))
    told("composing is timed")
    return curves


class Subject:
    """What is worked on, of so many classes.

    Args:
        classes: how many.
        settings: sizes of networks, images and batches.
    """

    def __init__(self, classes: int, settings: GrowthSettings) -> None:
        self._calls: dict[str, int] = {}
        self._generator = torch.Generator().manual_seed(settings.seed)
        self.strong = sized_classifier(settings, classes, settings.seed)
        self.plan = plan_of(self.strong)
        self.mask = random_mask(self.plan, settings.kept_share, settings.seed)
        self.masks = self._masks(classes, self.plan.channels, settings.kept_share)
        self._prepare_scores(classes, settings)
        self._prepare_patches(classes, settings)

    def warm(self) -> None:
        """Do all of it twice: the first time is the slowest, and makes the scores known.

        The second time says how often it has to be done for the clock to tell.
        """
        for name, work in self.works().items():
            work()
            self._calls[name] = max(1, round(_SHORTEST_SECONDS / seconds(work)))

    def times(self) -> dict[str, float]:
        """How long each takes, once; what is quick is done several times for it."""
        found = {}
        for name, work in self.works().items():
            calls = self._calls[name]
            took = seconds(partial(_repeat, work, calls))
            found[name] = (1000 if name.endswith("_ms") else 1) * took / calls
        return found

    def works(self) -> dict[str, Callable[[], object]]:
        """What is timed, by the quantity's name."""
        return {
            "compose_seconds": self.compose,
            "plan_seconds": partial(plan_of, self.strong),
            "decode_seconds": self._decode,
            "diff_seconds": self.compare,
            "combine_ms": partial(self.one_patch.combine, self.outputs[:2]),
            "combine_all_ms": partial(self.all_patches.combine, self.outputs),
        }

    def compose(self) -> float:
        """The accuracy of the model of one module a class; every score is known."""
        return self.scorer.composed_accuracy(self.candidates)

    def compare(self) -> float:
        """Diff of a mask a class."""
        return diff(self.masks, self.plan.kernels_per_channel)

    def _decode(self) -> nn.Module:
        return decode(self.strong.network, self.plan, self.mask, output=0)

    def _masks(self, count: int, channels: int, share: float) -> Tensor:
        return torch.rand(count, channels, generator=self._generator) < share

    def _prepare_scores(self, classes: int, settings: GrowthSettings) -> None:
        """A scorer, and a candidate for each class."""
        network = tiny_classifier(classes, settings.seed)
        labels = np.arange(max(1, settings.images // classes) * classes) % classes
        side, channels = network.preprocessing.size, network.preprocessing.channels
        pixels = np.zeros((len(labels), *side, channels), np.uint8)
        images = ClassImages(
            ImageSet(pixels, labels, network.class_names),
            prepare=network.preprocessing.prepare,
            device=torch.device("cpu"),
            micro_batch=500,
        )
        plan = plan_of(network)
        self.scorer = DrawnScores(network.network, plan, images)
        self.candidates = torch.ones(classes, plan.channels, dtype=torch.bool)

    def _prepare_patches(self, classes: int, settings: GrowthSettings) -> None:
        """A patch for each class; their network is one, as joining scores runs none."""
        strong, network = self.strong, self._decode()
        patches = [
            Patch(
                ClassModule(
                    network,
                    architecture=strong.architecture,
                    kept=self.mask,
                    output=output,
                    class_name=strong.class_names[output],
                    preprocessing=strong.preprocessing,
                ),
                CALIBRATION,
            )
            for output in range(classes)
        ]
        self.one_patch = PatchedClassifier(strong, patches[:1])
        self.all_patches = PatchedClassifier(strong, patches)
        draw = partial(torch.randn, generator=self._generator)
        self.outputs = [draw(settings.batch, classes), *(draw(settings.batch) for _ in patches)]


def _repeat(work: Callable[[], object], calls: int) -> None:
    for _ in range(calls):
        work()


class DrawnScores(CandidateScorer):
    """Candidates are decoded, but their scores drawn and not computed."""

    def _on_class(self, candidate: nn.Module, image_class: int) -> Tensor:
        return torch.randn(self.images.counts[image_class])
