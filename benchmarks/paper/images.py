"""The images of a suite: one strong data set, and one for each weak model."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from benchmarks.paper.track import Dataset
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.published import PublishedSets
from modularizer.datasets.recipes import read_published
from modularizer.datasets.weak_sets import DIGITS_STRONG, digits_weak_classes, with_target_class

_LOSSY = "7e4894eab4e758c0a81613c1c0f7adecbd1457f63f53ff8737374f828032286f"
_REMARKS = {
    _LOSSY: "96 of the 60,000 CIFAR-10 images (76 of the training and 20 of the test images, "
    "nearly all of ships) come from a lossy copy; the others are CIFAR-10's own (Krizhevsky, "
    "2009).",
}
"""What has to be said of images beside every table, by the fingerprint of their training part."""


class TrackImages:
    """A data set's images, read when they are first asked for.

    Args:
        dataset: which.
        seed: of the splits.
        folder: where the files are; None for the environment's choice.
    """

    def __init__(self, dataset: Dataset, seed: int, folder: Path | None = None) -> None:
        self.dataset = dataset
        self.seed = seed
        self.folder = folder
        self._sealed: dict[str, HeldOut] = {}

    @cached_property
    def strong(self) -> DataSplits:
        """What the strong network learns from.

        Raises:
            DataError: if files are missing or broken.
        """
        if self.dataset == "cifar":
            return self._whole.split(source="cifar10", seed=self.seed)
        return self._svhn.only(DIGITS_STRONG)

    @property
    def remark(self) -> str:
        """What has to be said of these images beside every table; mostly nothing."""
        return _REMARKS.get(self.strong.train.fingerprint, "")

    def weak(self, target: str) -> DataSplits:
        """What a weak model learns from; all test images of the target class are among them.

        Those stand last and in their published order, so that the paper's first 100 can be told
        from the rest. However often this is asked for, test images are given out once.

        Raises:
            DataError: if files are missing or broken.
        """
        if self.dataset == "cifar":
            found = with_target_class(
                self._nine,
                self._whole,
                target,
                source=f"cifar100-subset:{target}",
                seed=self.seed,
                test_images=None,
            )
        else:
            found = self._svhn.only(digits_weak_classes(target))
        return replace(found, test=self._sealed.setdefault(target, found.test))

    @cached_property
    def _whole(self) -> PublishedSets:
        return read_published("cifar10" if self.dataset == "cifar" else "svhn", self.folder)

    @cached_property
    def _nine(self) -> PublishedSets:
        return read_published("cifar100-subset", self.folder)

    @cached_property
    def _svhn(self) -> DataSplits:
        return self._whole.split(source="svhn", seed=self.seed)
