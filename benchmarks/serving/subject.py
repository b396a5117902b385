"""What is served: a weak model and one patch, with random weights.

Speed does not depend on what the weights are, so nothing is trained. Answers do: the patch is
calibrated so that it moves about half of them, clearly, and an answer of the weak model alone is
not taken for one of the patched model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.networks import random_classifier, random_module
from benchmarks.serving.pictures import smooth_noise
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.patched import PatchedClassifier
from modularizer.classifier import Classifier, predict
from modularizer.cost import count_cost
from modularizer.records import (
    AppliedPatch,
    DecomposedClass,
    Decomposition,
    PatchedManifest,
    Provenance,
    TrainedClassifier,
)
from registry.registry import Registry

_CANDIDATES = 64


@dataclass(frozen=True)
class SubjectSize:
    """How large the served networks and their pictures are.

    Attributes:
        arguments: of the ``simcnn`` architecture, for both networks.
        side: height and width of their input in pixels.
        photo: height and width of the photographs, in pixels.
        pictures: how many different ones are sent in turn; even.
    """

    arguments: dict[str, Any]
    side: int
    photo: tuple[int, int]
    pictures: int = 16

    def classifier(self, seed: int) -> Classifier:
        """A SimCNN of this size with random weights."""
        architecture = ArchitectureSpec(name="simcnn", arguments=self.arguments)
        return random_classifier(architecture, side=self.side, seed=seed)


QUARTER = SubjectSize(
    {"num_classes": 10, "width_multiplier": 0.25, "dropout": 0.0}, side=32, photo=(480, 640)
)
"""A quarter of the paper's widths, on CIFAR's size."""

TOY = SubjectSize(
    {"num_classes": 3, "stages": [[4], [6]], "hidden": [8], "input_size": 8, "dropout": 0.0},
    side=8,
    photo=(48, 64),
    pictures=4,
)
"""To see it work."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A registered patched model, and what it is asked about.

    Attributes:
        uri: its address.
        patched: the same model, loaded.
        size: of networks and pictures.
        seeds: of the pictures, for `smooth_noise`: of half of them the patch moves the answer.
        kernels_kept: share of the strong network's kernels in the class module, in [0, 1].
    """

    uri: str
    patched: PatchedClassifier
    size: SubjectSize
    seeds: tuple[int, ...]
    kernels_kept: float

    def facts(self) -> dict[str, Any]:
        """What is served, as JSON values."""
        patch = self.patched.patches[0].class_module
        weak = self.patched.weak
        return {
            "architecture": weak.architecture.model_dump(mode="json"),
            "weights": "random; no time here depends on them",
            "multiply_adds": {
                "weak": count_cost(weak.network, weak.preprocessing).multiply_adds,
                "module": count_cost(patch.network, patch.preprocessing).multiply_adds,
            },
            "kernels_kept": self.kernels_kept,
            "input_pixels": [self.size.side, self.size.side],
            "photo_pixels": list(self.size.photo),
            "pictures": self.size.pictures,
        }


def register_subject(
    registry: Registry, size: SubjectSize = QUARTER, *, kept_share: float = 0.6, seed: int = 0
) -> Subject:
    """Make a weak model, a class module and a patched model of both, and register them.

    Args:
        registry: where.
        size: of networks and pictures.
        kept_share: share of the strong network's kernels in the class module, about.
        seed: of weights, mask and pictures.
    """
    weak, strong = size.classifier(seed), size.classifier(seed + 1)
    candidates = np.stack(
        [smooth_noise(size.side, size.side, seed=seed + n) for n in range(_CANDIDATES)]
    )
    weak_labels = predict(weak, candidates).argmax(axis=1)
    target = int(np.bincount(weak_labels, minlength=len(weak.class_names)).argmin())
    module = random_module(strong, target, kept_share=kept_share, seed=seed)
    chosen, calibration = clear_cases(raw_scores(module, candidates), size.pictures)
    provenance = made_of_nothing(seed)
    weak_uri, [module_uri] = register_parts(
        registry, weak, strong, [(module, calibration)], provenance
    )
    patches = [AppliedPatch(module_uri, module.class_name, calibration)]
    uri = registry.add_patched(PatchedManifest("served", weak_uri, patches, {}, {}, provenance))
    return Subject(
        uri=uri,
        patched=registry.load_patched(uri),
        size=size,
        seeds=tuple(seed + int(number) for number in chosen),
        kernels_kept=float(module.kept.float().mean()),
    )


def raw_scores(module: ClassModule, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a class module gives, uncalibrated, float32 (N,), for uint8 images (N, H, W, C)."""
    with torch.inference_mode():
        scores: NDArray[np.float32] = module(torch.from_numpy(images)).numpy()
    return scores


def clear_cases(
    scores: NDArray[np.float32], pictures: int
) -> tuple[NDArray[np.int64], MinMaxCalibration]:
    """The pictures with the lowest and the highest scores, and a calibration that parts them.

    The low ones come out below 0, less than any probability, the high ones above 1.
    """
    order = scores.argsort()
    low, high = order[: pictures // 2], order[-(pictures // 2) :]
    bottom, top = float(scores[low].max()), float(scores[high].min())
    quarter = (top - bottom) / 4
    calibration = MinMaxCalibration(minimum=bottom + quarter, maximum=top - quarter)
    return np.stack([low, high], axis=1).flatten(), calibration


def register_parts(
    registry: Registry,
    weak: Classifier,
    strong: Classifier,
    modules: Sequence[tuple[ClassModule, Calibration]],
    provenance: Provenance,
) -> tuple[str, Sequence[str]]:
    """Register a weak and a strong model and class modules of the latter.

    Returns:
        The weak model's address, and those of the class modules, in the order given.
    """

    def added(kind: Literal["weak", "strong"], one: Classifier) -> str:
        cost = count_cost(one.network, one.preprocessing)
        return registry.add_classifier(TrainedClassifier(kind, kind, one, {}, [], cost, provenance))

    weak_uri, strong_uri = added("weak", weak), added("strong", strong)
    parts = [
        DecomposedClass(
            one, {"minmax": calibration}, {}, count_cost(one.network, one.preprocessing)
        )
        for one, calibration in modules
    ]
    decomposition = Decomposition("strong", parts, {}, [], provenance)
    return weak_uri, registry.add_decomposition(decomposition, strong_uri=strong_uri)


def made_of_nothing(seed: int) -> Provenance:
    """Where random networks come from."""
    return Provenance(settings={}, seed=seed, data_source="none", data_fingerprint="0" * 64)
