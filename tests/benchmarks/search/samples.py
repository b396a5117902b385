"""A small strong model on some of the digits, for measurements that last no time."""

from __future__ import annotations

import torch

from benchmarks.search.subject import Subject
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.classifier import Classifier
from modularizer.datasets.recipes import load_data
from modularizer.datasets.splits import with_validation_images
from modularizer.preprocessing import Preprocessing

ARCHITECTURE = ArchitectureSpec(
    name="simple_rescnn",
    arguments={"num_classes": 4, "width": 6, "in_channels": 1, "input_size": 8},
)


def subject(images: int = 40) -> Subject:
    """A coupled network with random weights, and four of the digits."""
    data = with_validation_images(load_data("digits", classes=["3", "1", "8", "0"]), images, seed=0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(ARCHITECTURE)
    strong = Classifier(
        network,
        architecture=ARCHITECTURE,
        preprocessing=Preprocessing.fitted(data.train),
        class_names=data.class_names,
    ).eval()
    return Subject("a small one", strong, data)
