"""A data set as it was published: images to train on, and a test set that is never touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.datasets.splits import require_every_class, stratified_parts
from modularizer.errors import DataError


@dataclass(frozen=True)
class PublishedSets:
    """What every reader of a ready-made data set gives, whatever it read it from.

    Attributes:
        train: all images that may be learnt from; validation is taken from them.
        test: the official test images.

    Raises:
        DataError: if the two differ in classes or image shape, or a class has no test image.
    """

    train: ImageSet
    test: ImageSet

    def __post_init__(self) -> None:
        if self.train.class_names != self.test.class_names:
            raise DataError(
                f"train has the classes {self.train.class_names}, test {self.test.class_names}; "
                "both must have the same in one order"
            )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise DataError(
                f"train images are {self.train.images.shape[1:]} (height, width, channels), test "
                f"images {self.test.images.shape[1:]}; bring them to one shape"
            )
        require_every_class(self.test, "test")

    def only(self, class_names: Sequence[str]) -> PublishedSets:
        """The same sets with these classes alone, relabelled in the order given.

        Raises:
            DataError: if a class is unknown here.
        """
        return PublishedSets(self.train.only(class_names), self.test.only(class_names))

    def split(self, *, source: str, seed: int = 0, validation_fraction: float = 0.2) -> DataSplits:
        """Take a share of each class's training images for validation; test stays as it is.

        Args:
            source: where the data came from, for the record.
            seed: decides which images validate, 0 or more.
            validation_fraction: share of ``train``, in (0, 1).

        Raises:
            DataError: if a class has fewer than two training images, or the fraction is no
                fraction.
        """
        fractions = (1 - validation_fraction, validation_fraction)
        train, validation = stratified_parts(self.train, fractions, seed=seed)
        return DataSplits(train, validation, HeldOut(self.test), source, seed)
