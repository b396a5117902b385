"""Networks with random weights, of which only the number or the size matters."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.growth.settings import GrowthSettings
from benchmarks.networks import random_classifier
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.classifier import Classifier
from modularizer.cost import count_cost
from modularizer.records import DecomposedClass

CALIBRATION = MinMaxCalibration(minimum=-1.0, maximum=1.0)
"""Of every class module; no time depends on it."""


def tiny_classifier(classes: int, seed: int) -> Classifier:
    """As small as it can be: two kernels, images of 4 x 4 pixels."""
    arguments = {
        **{"num_classes": classes, "stages": [[2]], "hidden": [2]},
        **{"input_size": 4, "dropout": 0.0},
    }
    architecture = ArchitectureSpec(name="simcnn", arguments=arguments)
    return random_classifier(architecture, side=4, seed=seed)


def sized_classifier(settings: GrowthSettings, classes: int, seed: int) -> Classifier:
    """A SimCNN of the width asked for, for images of 32 x 32 pixels; tiny if that is asked for."""
    if settings.tiny:
        return tiny_classifier(classes, seed)
    arguments = {"num_classes": classes, "width_multiplier": settings.width, "dropout": 0.0}
    architecture = ArchitectureSpec(name="simcnn", arguments=arguments)
    return random_classifier(architecture, side=32, seed=seed)


def decomposed(modules: Sequence[ClassModule]) -> list[DecomposedClass]:
    """Class modules as the pipeline hands them to the registry."""
    return [
        DecomposedClass(
            one, {"minmax": CALIBRATION}, {}, count_cost(one.network, one.preprocessing)
        )
        for one in modules
    ]
