from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.simcnn import simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.assembly.patched import Patch, PatchedClassifier
from modularizer.classifier import Classifier
from modularizer.metrics import PatchEvaluation, evaluate_patch
from modularizer.preprocessing import Preprocessing
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
from serving.engine.engine import Engine
from serving.engine.executors.in_turn import SequentialExecutor
from serving.protocol import (
    ModelDescription,
    ModelIdentity,
    PatchDescription,
    WeakDescription,
)
from serving.residency.served import ServedModel

GREY = Preprocessing(size=(8, 8), channels=1, mean=(0.5,), std=(0.25,))
COLOUR = Preprocessing(size=(16, 16), channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
CLASS_NAMES = ("6", "7", "8", "9", "TC")
ARCHITECTURE = ArchitectureSpec(name="simcnn")


def class_module(class_name: str, preprocessing: Preprocessing) -> ClassModule:
    network = simcnn(
        1,
        stages=((4,), (6,)),
        hidden=(8,),
        in_channels=preprocessing.channels,
        input_size=preprocessing.size[0],
    )
    return ClassModule(
        network,
        architecture=ARCHITECTURE,
        kept=torch.ones(10, dtype=torch.bool),
        output=0,
        class_name=class_name,
        preprocessing=preprocessing,
    )


def make_patched() -> PatchedClassifier:
    """Two patches, of which one prepares its images in its own way; both change answers."""
    torch.manual_seed(0)
    weak = Classifier(
        simcnn(5, stages=((4,), (6,)), hidden=(8,), in_channels=1, input_size=8),
        architecture=ARCHITECTURE,
        preprocessing=GREY,
        class_names=CLASS_NAMES,
    )
    calibration = MinMaxCalibration(minimum=-0.2, maximum=0.6)
    patches = [
        Patch(class_module("TC", COLOUR), calibration),
        Patch(class_module("7", GREY), calibration),
    ]
    return PatchedClassifier(weak, patches).eval()


IDENTITY = ModelIdentity(uri="models:/digits/3", name="digits", version=3)


MODULES = ("models:/strong.TC/1", "models:/strong.7/2")


def make_engine(model: PatchedClassifier | None = None, **options: Any) -> Engine:
    options = {
        "executor": SequentialExecutor(),
        "modules": MODULES,
        "identity": IDENTITY,
        **options,
    }
    return Engine(model or make_patched(), **options)


def make_served(name: str = "digits", version: int = 3, **options: Any) -> ServedModel:
    """A model in memory, without a registry."""
    identity = ModelIdentity(uri=f"models:/{name}/{version}", name=name, version=version)
    engine, digest = make_engine(identity=identity, **options), f"{version:064d}"
    return ServedModel(engine, digest, description=describe_engine(engine, digest))


def describe_engine(engine: Engine, digest: str) -> ModelDescription:
    """What would be told of a model if it had been registered, without costs and evidence."""
    patches = zip(engine.model.patches, engine.modules, strict=True)
    return ModelDescription(
        model=engine.identity,
        digest=digest,
        from_cache=False,
        class_names=engine.class_names,
        fusion=engine.model.fusion.kind,
        mirrored=False,
        metrics={},
        weak=WeakDescription(uri="models:/weak/1", cost=None, metrics={}),
        patches=tuple(
            PatchDescription(
                patch=patch.class_name,
                module=uri,
                module_class=patch.class_name,
                strong="models:/strong/1",
                calibration=patch.calibration.kind,
                cost=None,
                metrics={},
                validation=None,
            )
            for patch, uri in patches
        ),
    )


def random_images(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def npy_bytes(array: NDArray[Any], *, version: tuple[int, int] = (1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version, allow_pickle=True)
    return stream.getvalue()


def encode(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, name, **options)
    return stream.getvalue()


def judged(target: str) -> PatchEvaluation:
    """What a patch of a class might be judged by: half of its images right, then all."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    weak = np.array([0, 0, 1, 1, 1, 1, 1, 0])
    patched = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    return evaluate_patch(labels, weak, patched, class_names=(target, "other"), target=target)


def register_patched(home: Path | None, *, seed: int = 1, hidden: Sequence[int] = (8,)) -> None:
    """Register a weak model, a class module and a patched model with random weights.

    The patched one is of the kind that takes most to serve: stacked, with a mirrored module of a
    class that the weak model has under another name. ``hidden`` is of the class module.
    """
    arguments = {
        "num_classes": 3,
        "stages": [[6], [8]],
        "hidden": [8],
        "in_channels": 1,
        "input_size": 8,
    }
    spec = ArchitectureSpec(name="simcnn", arguments=arguments)
    torch.manual_seed(seed)
    strong_spec = ArchitectureSpec(name="simcnn", arguments={**arguments, "hidden": [*hidden]})
    strong = Classifier(
        build_network(strong_spec).eval(),
        architecture=strong_spec,
        preprocessing=GREY,
        class_names=("TC", "1", "2"),
    )
    weak = Classifier(
        build_network(spec).eval(),
        architecture=spec,
        preprocessing=GREY,
        class_names=("6", "cone", "7"),
    )
    plan = slicing_plan(strong.network, (1, 8, 8))
    kept = torch.ones(plan.channels, dtype=torch.bool)
    kept[0] = False
    module = ClassModule(
        decode(strong.network, plan, kept, output=0),
        architecture=strong_spec,
        kept=kept,
        output=0,
        class_name="TC",
        preprocessing=GREY,
    )
    calibration = MinMaxCalibration(minimum=-0.2, maximum=0.6)
    cost = Cost(kernels=14, parameters=1, multiply_adds=1)
    provenance = Provenance(settings={}, seed=1, data_source="none", data_fingerprint="0" * 64)
    registry = Registry.open(home)
    strong_uri = registry.add_classifier(
        TrainedClassifier("strong", "strong", strong, {}, [], cost, provenance)
    )
    weak_uri = registry.add_classifier(
        TrainedClassifier("weak", "weak", weak, {}, [], cost, provenance)
    )
    kept_metrics = {"kernels_kept": 14.0, "kernels_kept_share": 14 / 15, "composed_accuracy": 0.75}
    parts = [DecomposedClass(module, {"minmax": calibration}, kept_metrics, cost)]
    [module_uri] = registry.add_decomposition(
        Decomposition("strong", parts, {}, [], provenance), strong_uri=strong_uri
    )
    fitted = FittedCalibration(scale=60.0, shift=-20.2)
    fusion = Stacking(temperature=1.3, renormalise=True, weak_weights=(0.5,))
    patched_uri = registry.add_patched(
        PatchedManifest(
            "served",
            weak_uri,
            [AppliedPatch(module_uri, "cone", fitted)],
            {"validation_f1_gain": 0.25},
            {"validation": [asdict(judged("cone"))]},
            provenance,
            fusion,
            mirrored=True,
        )
    )
    registry.aliases.promote(patched_uri, "champion")
