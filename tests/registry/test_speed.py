"""What registering and loading may take after imports and opening the store; the best of three."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest
import torch

from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.decode import decode
from modularizer.classifier import Classifier
from modularizer.preprocessing import Preprocessing
from modularizer.records import DecomposedClass, Decomposition
from registry.registry import Registry
from tests.registry.conftest import COST, PROVENANCE, make_patched, make_trained
from tests.registry.timing import require_within

TEN_MODULES_SECONDS, CACHED_LOAD_SECONDS, ROLLBACK_SECONDS = 5.0, 0.5, 2.0
NAMES = ("zero", *(f"class {number}" for number in range(1, 10)))


def full_size() -> tuple[Classifier, Decomposition]:
    """SimCNN at full width, and ten modules with 37 % of its channels, as the paper has them."""
    spec = ArchitectureSpec(name="simcnn", arguments={"num_classes": 10})
    torch.manual_seed(0)
    classifier = Classifier(
        build_network(spec).eval(),
        architecture=spec,
        preprocessing=Preprocessing(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.2,) * 3),
        class_names=NAMES,
    )
    plan = slicing_plan(classifier.network, (3, 32, 32))
    parts = []
    for output, name in enumerate(NAMES):
        seed = torch.Generator().manual_seed(output)
        kept = torch.rand(plan.channels, generator=seed) < 0.37
        module = ClassModule(
            decode(classifier.network, plan, kept, output=output),
            architecture=spec,
            kept=kept,
            output=output,
            class_name=name,
            preprocessing=classifier.preprocessing,
        )
        calibrations = {"minmax": MinMaxCalibration(minimum=-1.0, maximum=2.0)}
        parts.append(DecomposedClass(module, calibrations, {"kernels_kept": 20.0}, COST))
    return classifier, Decomposition("simcnn", parts, {}, [], PROVENANCE)


pytestmark = [pytest.mark.slow, pytest.mark.timed]


def test_ten_full_size_modules_are_registered_in_time(tmp_path: Path) -> None:
    classifier, decomposition = full_size()
    registry = Registry.open(tmp_path)
    strong_uri = registry.add_classifier(replace(make_trained("simcnn"), classifier=classifier))
    took = []
    for _ in range(3):
        start = perf_counter()
        registry.add_decomposition(decomposition, strong_uri=strong_uri)
        took.append(perf_counter() - start)
    require_within(TEN_MODULES_SECONDS, took, "registering ten modules")


def test_a_cached_patched_model_loads_in_time(tmp_path: Path) -> None:
    classifier, decomposition = full_size()
    registry = Registry.open(tmp_path)
    strong_uri = registry.add_classifier(replace(make_trained("simcnn"), classifier=classifier))
    one = replace(decomposition, classes=decomposition.classes[:1])
    [module_uri] = registry.add_decomposition(one, strong_uri=strong_uri)
    patched = registry.add_patched(make_patched("patched", strong_uri, module_uri))
    registry.load(patched)
    took = []
    for _ in range(3):
        again = Registry.open(tmp_path)
        again.versions()  # MLflow's first query of a store costs, too
        start = perf_counter()
        again.load(patched)
        took.append(perf_counter() - start)
    require_within(CACHED_LOAD_SECONDS, took, "loading a patched model from the cache")


def test_going_back_takes_no_longer_after_many_moves(tmp_path: Path) -> None:
    classifier, decomposition = full_size()
    registry = Registry.open(tmp_path)
    trained = replace(make_trained("simcnn"), classifier=classifier)
    weak_uri = registry.add_classifier(trained)
    uris = registry.add_decomposition(decomposition, strong_uri=weak_uri)
    first, second = (
        registry.add_patched(make_patched("patched", weak_uri, one)) for one in uris[:2]
    )
    for _ in range(20):
        for uri in (first, second):
            registry.aliases.promote(uri, "champion")
    took = []
    for expected in (first, second, first):
        again = Registry.open(tmp_path)
        again.versions()
        start = perf_counter()
        _, now = again.aliases.rollback("patched", "champion")
        took.append(perf_counter() - start)
        assert now.uri == expected
    require_within(ROLLBACK_SECONDS, took, "going back")
