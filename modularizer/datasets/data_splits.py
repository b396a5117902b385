"""The three splits of one data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.errors import DataError


@dataclass(frozen=True)
class DataSplits:
    """One data set, split once: to learn from, to choose by, and to judge by.

    Attributes:
        train: what weights and calibrations are fitted on.
        validation: what every choice is made by (epochs, masks, which patch to promote).
        test: sealed; opened by final evaluations alone.
        source: where the data came from, for the record ("digits", a file name).
        seed: of the split.
    """

    train: ImageSet
    validation: ImageSet
    test: HeldOut
    source: str
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.train.class_names == self.validation.class_names == self.test.class_names:
            raise DataError("train, validation and test must have the same classes in one order")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in label order."""
        return self.train.class_names

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the three splits, as 64 hex digits."""
        parts = (self.train.fingerprint, self.validation.fingerprint, self.test.fingerprint)
        return hashlib.sha256("".join(parts).encode()).hexdigest()

    def only(self, class_names: Sequence[str]) -> DataSplits:
        """The same splits with these classes alone, relabelled in the order given."""
        return DataSplits(
            self.train.only(class_names),
            self.validation.only(class_names),
            self.test.only(class_names),
            self.source,
            self.seed,
        )
