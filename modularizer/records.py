"""What the pipeline hands to a sink: results with everything that is needed to believe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.fusion import Fusion
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.classifier import Classifier
from modularizer.search_report import SearchReport


@dataclass(frozen=True)
class Provenance:
    """What a result was made from, logged with it word for word.

    Attributes:
        settings: the settings of the step that made it, as plain JSON values.
        seed: the seed of every random choice in that step.
        data_source: where the images came from ("digits", a file name).
        data_fingerprint: SHA-256 of the splits that were used, 64 hex digits.
    """

    settings: Mapping[str, Any]
    seed: int
    data_source: str
    data_fingerprint: str


@dataclass(frozen=True)
class Cost:
    """What a network costs, counted rather than timed.

    Attributes:
        kernels: output channels of all convolutions.
        parameters: weights and biases, a count.
        multiply_adds: fvcore's count for one image; not FLOPs, which are twice as many.
    """

    kernels: int
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class TrainedClassifier:
    """A strong or a weak classifier, ready to be registered.

    Attributes:
        name: the name to register it under.
        kind: whether others are patched from it (strong) or it is to be patched (weak).
        classifier: the network with its preprocessing and class names.
        metrics: name to value, ratios in [0, 1]; e.g. ``validation_accuracy``.
        history: one mapping an epoch, metric name to value, in order.
        cost: what the network costs.
        provenance: what it was made from.
    """

    name: str
    kind: Literal["strong", "weak"]
    classifier: Classifier
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]]
    cost: Cost
    provenance: Provenance


@dataclass(frozen=True)
class DecomposedClass:
    """One class module with its calibration and its evidence.

    Attributes:
        class_module: the sliced network.
        calibrations: what was fitted on the strong model's images, by kind; ``minmax`` at least.
        metrics: name to value; e.g. ``kernels_kept`` (a count), ``kernels_kept_share``.
        cost: what the sliced network costs.
    """

    class_module: ClassModule
    calibrations: Mapping[str, Calibration]
    metrics: Mapping[str, float]
    cost: Cost


@dataclass(frozen=True)
class Decomposition:
    """A strong classifier taken apart, one module a class.

    Attributes:
        name: the strong model's registered name; the modules' names are made from it.
        classes: one entry a class, in the strong model's output order.
        metrics: of the composed model: ``strong_accuracy``, ``composed_accuracy``,
            ``random_accuracy``, ``diff``, all on validation images.
        history: one mapping a generation, metric name to value, in order.
        sensitivity: one mapping a drop ratio, from 0 in steps of 0.1: the layers of a segment,
            joined by "+", to the composed accuracy with that share of the segment dropped.
        provenance: what it was made from.
        report: the search in plain numbers, to be kept with every class module; None if there
            was no search.
    """

    name: str
    classes: Sequence[DecomposedClass]
    metrics: Mapping[str, float]
    history: Sequence[Mapping[str, float]]
    provenance: Provenance
    sensitivity: Sequence[Mapping[str, float]] = ()
    report: SearchReport | None = None


@dataclass(frozen=True)
class AppliedPatch:
    """One class module at work in a patched classifier.

    Attributes:
        class_module_uri: the class module's address.
        class_name: the class it fixes, as the weak model calls it.
        calibration: of its score.
    """

    class_module_uri: str
    class_name: str
    calibration: Calibration


@dataclass(frozen=True)
class PatchedManifest:
    """A patched classifier as what it is: addresses, not copies.

    Attributes:
        name: the name to register it under.
        weak_uri: the weak model's address, ``models:/name/version``.
        patches: one for each class to fix.
        fusion: how their scores join the weak model's.
        mirrored: whether class modules see each image both ways.
        metrics: name to value: weak and patched, per split; ratios in [0, 1].
        evidence: anything more to keep as JSON beside the manifest (confusions, intervals).
        provenance: what the evaluation was made from.
        pictures: files to store with it.
    """

    name: str
    weak_uri: str
    patches: Sequence[AppliedPatch]
    metrics: Mapping[str, float]
    evidence: Mapping[str, Any]
    provenance: Provenance
    fusion: Fusion = field(default_factory=Replacement)
    mirrored: bool = False
    pictures: Sequence[Path] = field(default=())


class ModelSink(Protocol):
    """Where the pipeline's results go; `registry` implements it with MLflow."""

    def add_classifier(self, record: TrainedClassifier) -> str:
        """Register a strong or weak classifier; gives its address, ``models:/name/version``."""
        ...

    def add_decomposition(self, record: Decomposition, *, strong_uri: str) -> Sequence[str]:
        """Register every class module of a decomposition; gives their addresses in class order."""
        ...

    def add_patched(self, record: PatchedManifest) -> str:
        """Register a patched classifier; gives its address."""
        ...
