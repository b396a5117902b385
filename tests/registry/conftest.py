"""One store for all tests here (making one costs seconds), and small models to put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from numpy.typing import NDArray

from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.classifier import Classifier
from modularizer.preprocessing import Preprocessing
from modularizer.records import (
    AppliedPatch,
    Cost,
    DecomposedClass,
    Decomposition,
    ModelSink,
    PatchedManifest,
    Provenance,
    TrainedClassifier,
)
from registry.naming import class_module_name, parse_address
from registry.registry import Registry

PREPROCESSING = Preprocessing(size=(8, 8), channels=1, mean=(0.4,), std=(0.3,))
CLASS_NAMES = ("zero", "traffic light", "a/b")
SPEC = ArchitectureSpec(
    name="simcnn",
    arguments={
        "num_classes": 3,
        "stages": [[8, 8], [16]],
        "hidden": [16],
        "in_channels": 1,
        "input_size": 8,
        "batch_norm": True,
    },
)
PROVENANCE = Provenance(
    settings={"learning_rate": 0.1, "search": {"candidates": 20, "alpha": 0.9}},
    seed=7,
    data_source="digits",
    data_fingerprint="ab" * 32,
)
COST = Cost(kernels=32, parameters=1000, multiply_adds=2000)
_numbers = count()


@pytest.fixture(autouse=True)
def _no_outer_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("PATCHBAY_HOME", raising=False)
    monkeypatch.delenv("PATCHBAY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))  # a server's bundles


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry-home")


@pytest.fixture(scope="session")
def registry(home: Path) -> Registry:
    return Registry.open(home)


@pytest.fixture
def fresh_name() -> str:
    """A name that no other test registers under."""
    return f"model-{next(_numbers)}"


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (7, 8, 8, 1), dtype=np.uint8)


def client_of(registry: Registry) -> Any:
    """MLflow's own client of the same store; its types leave too much open to be of use."""
    return MlflowClient(registry.tracking_uri, registry.tracking_uri)


def make_classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    network = build_network(SPEC)
    with torch.no_grad():  # batch-norm statistics that differ from those of a fresh network
        network(torch.randn(16, 1, 8, 8))
    return Classifier(
        network.eval(), architecture=SPEC, preprocessing=PREPROCESSING, class_names=CLASS_NAMES
    )


def make_trained(name: str, *, kind: str = "strong", seed: int = 0) -> TrainedClassifier:
    record = TrainedClassifier(
        name=name,
        kind="strong",
        classifier=make_classifier(seed),
        metrics={"validation_accuracy": 0.9},
        history=[{"loss": 1.0, "accuracy": 0.5}, {"loss": 0.5, "accuracy": 0.9}],
        cost=COST,
        provenance=PROVENANCE,
    )
    return replace(record, kind="weak") if kind == "weak" else record


def make_class_module(classifier: Classifier, class_name: str, *, seed: int = 0) -> ClassModule:
    plan = slicing_plan(classifier.network, (1, 8, 8))
    kept = torch.rand(plan.channels, generator=torch.Generator().manual_seed(seed)) < 0.7
    output = classifier.class_index(class_name)
    return ClassModule(
        decode(classifier.network, plan, kept, output=output),
        architecture=SPEC,
        kept=kept,
        output=output,
        class_name=class_name,
        preprocessing=PREPROCESSING,
    )


def make_decomposition(name: str, classifier: Classifier) -> Decomposition:
    return Decomposition(
        name=name,
        classes=[
            DecomposedClass(
                class_module=make_class_module(classifier, class_name, seed=seed),
                calibrations={"minmax": MinMaxCalibration(minimum=-1.0 - seed, maximum=2.0)},
                metrics={"kernels_kept": 20.0 + seed},
                cost=COST,
            )
            for seed, class_name in enumerate(classifier.class_names)
        ],
        metrics={"composed_accuracy": 0.8, "diff": 0.5},
        history=[{"best_fitness": 0.3}, {"best_fitness": 0.6}],
        provenance=PROVENANCE,
    )


def class_of(class_module_uri: str) -> str:
    """The class that a module made by `make_decomposition` scores, by its address."""
    parts = {class_module_name("any", name).removeprefix("any."): name for name in CLASS_NAMES}
    found = parse_address(class_module_uri).name.rpartition(".")[2]
    return parts.get(found, CLASS_NAMES[0])


def make_patched(name: str, weak_uri: str, *class_module_uris: str) -> PatchedManifest:
    return PatchedManifest(
        name=name,
        weak_uri=weak_uri,
        patches=[
            AppliedPatch(uri, class_of(uri), MinMaxCalibration(minimum=-1.5, maximum=1.5))
            for uri in class_module_uris
        ],
        metrics={"validation_f1": 0.7},
        evidence={"confusion": [[3, 1], [0, 4]]},
        provenance=PROVENANCE,
    )


@dataclass(frozen=True)
class Registered:
    strong: Classifier
    strong_uri: str
    weak: Classifier
    weak_uri: str
    decomposition: Decomposition
    class_module_uris: Sequence[str]
    patched_uri: str


@pytest.fixture(scope="session")
def registered(registry: Registry) -> Registered:
    sink: ModelSink = registry
    strong, weak = make_trained("whole-strong"), make_trained("whole-weak", kind="weak", seed=1)
    strong_uri, weak_uri = sink.add_classifier(strong), sink.add_classifier(weak)
    decomposition = make_decomposition("whole-strong", strong.classifier)
    uris = sink.add_decomposition(decomposition, strong_uri=strong_uri)
    patched_uri = sink.add_patched(make_patched("whole-patched", weak_uri, uris[1], uris[2]))
    return Registered(
        strong.classifier, strong_uri, weak.classifier, weak_uri, decomposition, uris, patched_uri
    )
