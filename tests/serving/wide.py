"""A model with very many classes, whose names are not kind."""

from __future__ import annotations

from pathlib import Path

import torch

from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.calibrations.raw import NoCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.classifier import Classifier
from modularizer.records import (
    AppliedPatch,
    Cost,
    DecomposedClass,
    Decomposition,
    PatchedManifest,
    Provenance,
    TrainedClassifier,
)
from registry.registry import Registry
from tests.serving.samples import GREY

MARKUP = '<img src=x onerror="document.title=1">&amp;<b>'
COMMA = "sea, snow"
LONG = "W" * 60
PATCHED = (MARKUP, COMMA, LONG)
NAMES = (*PATCHED, *(f"class {number}" for number in range(997)))
CHAMPION = "models:/wide@champion"


def register_wide(home: Path) -> Registry:
    """Register ``models:/wide/1``, with three patches, and ``models:/wide/2``, with one of them.

    Raw scores are beyond 0 and 1. The alias ``champion`` stands on the first.
    """
    registry = Registry.open(home)
    provenance = Provenance(settings={}, seed=1, data_source="none", data_fingerprint="0" * 64)
    cost = Cost(kernels=14, parameters=1, multiply_adds=1)
    strong, weak = _classifier(PATCHED), _classifier(NAMES)
    strong_uri = registry.add_classifier(
        TrainedClassifier("strong", "strong", strong, {}, [], cost, provenance)
    )
    weak_uri = registry.add_classifier(
        TrainedClassifier("weak", "weak", weak, {}, [], cost, provenance)
    )
    raw: Calibration = NoCalibration()
    plan = slicing_plan(strong.network, (1, 8, 8))
    kept = torch.ones(plan.channels, dtype=torch.bool)
    modules = [
        ClassModule(
            decode(strong.network, plan, kept, output=output),
            architecture=strong.architecture,
            kept=kept,
            output=output,
            class_name=name,
            preprocessing=GREY,
        )
        for output, name in enumerate(PATCHED)
    ]
    minmax = MinMaxCalibration(minimum=-0.2, maximum=0.6)
    parts = [DecomposedClass(module, {"minmax": minmax}, {}, cost) for module in modules]
    uris = registry.add_decomposition(
        Decomposition("strong", parts, {}, [], provenance), strong_uri=strong_uri
    )
    for chosen in (zip(uris, PATCHED, strict=True), [(uris[1], COMMA)]):
        patches = [AppliedPatch(uri, name, raw) for uri, name in chosen]
        registry.add_patched(PatchedManifest("wide", weak_uri, patches, {}, {}, provenance))
    registry.aliases.promote("models:/wide/1", "champion")
    return registry


def _classifier(class_names: tuple[str, ...]) -> Classifier:
    torch.manual_seed(1)
    spec = ArchitectureSpec(
        name="simcnn",
        arguments={
            "num_classes": len(class_names),
            "stages": [[6], [8]],
            "hidden": [8],
            "in_channels": 1,
            "input_size": 8,
        },
    )
    return Classifier(
        build_network(spec).eval(),
        architecture=spec,
        preprocessing=GREY,
        class_names=class_names,
    )
