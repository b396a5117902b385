"""What nearly every command begins with: threads, the registry, the data that fits a model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modularizer.datasets.images import DataSplits
    from registry.registry import Registry


def open_registry(home: Path | None, *, threads: int) -> Registry:
    """Open the registry for a command, with as many threads as it may use.

    Args:
        home: the embedded registry's folder; None for the environment's choice.
        threads: of a network.
    """
    warnings.simplefilter("ignore")  # other people's deprecations are not for our users
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    import torch

    from registry.registry import Registry

    torch.set_num_threads(threads)
    return Registry.open(home)


def load_splits(source: str, *, seed: int, classes: Sequence[str]) -> DataSplits:
    """Load data with these classes, in this order: those of the model at hand."""
    from modularizer.datasets.recipes import load_data

    return load_data(source, seed=seed, classes=classes)
