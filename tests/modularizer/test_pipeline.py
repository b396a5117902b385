from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.classifier import predict
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.errors import PatchError
from modularizer.metrics import METRICS, class_metrics
from modularizer.pipeline import (
    RegisteredClassifier,
    RegisteredDecomposition,
    RegisteredPatch,
    evaluate_patched,
    evaluation_metrics,
    run_decomposition,
    run_patch,
    run_training,
)
from modularizer.records import AppliedPatch, Decomposition, PatchedManifest, TrainedClassifier
from modularizer.settings import DecompositionSettings, TrainingSettings

SPEC = ArchitectureSpec(
    name="simcnn",
    arguments={"stages": [[6], [8]], "hidden": [8], "in_channels": 1, "input_size": 8},
)
TRAINING = TrainingSettings(epochs=5, batch_size=16, learning_rate=0.05, seed=2)
SEARCH = DecompositionSettings(
    few_groups=3, candidates=4, parents=2, generations=2, top=4, random_draws=2
)


def image_set(count: int, seed: int) -> ImageSet:
    """Noise with a bright bar whose place is the class."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 4
    images = generator.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label] += 110
    return ImageSet(images, labels, ("a", "b", "c", "d"))


ALL = DataSplits(image_set(80, 0), image_set(60, 1), HeldOut(image_set(40, 2)), "bars")
STRONG_DATA, WEAK_DATA = ALL.only(["a", "b", "c"]), ALL.only(["d", "c", "a"])


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.classifiers: list[TrainedClassifier] = []
        self.decompositions: list[tuple[Decomposition, str]] = []
        self.patched: list[PatchedManifest] = []

    def add_classifier(self, record: TrainedClassifier) -> str:
        self.classifiers.append(record)
        return f"models:/{record.name}/{len(self.classifiers)}"

    def add_decomposition(self, record: Decomposition, *, strong_uri: str) -> Sequence[str]:
        self.decompositions.append((record, strong_uri))
        names = [one.class_module.class_name for one in record.classes]
        return [f"models:/{record.name}-{name}/1" for name in names]

    def add_patched(self, record: PatchedManifest) -> str:
        self.patched.append(record)
        return f"models:/{record.name}/1"


Story = tuple[
    Recorder, RegisteredClassifier, RegisteredClassifier, RegisteredDecomposition, RegisteredPatch
]


@lru_cache(maxsize=1)
def story() -> Story:
    sink = Recorder()
    strong = run_training(
        STRONG_DATA, name="strong", kind="strong", architecture=SPEC, settings=TRAINING, sink=sink
    )
    weak = run_training(
        WEAK_DATA,
        name="weak",
        kind="weak",
        architecture=SPEC,
        settings=TRAINING,
        sink=sink,
        stop="underfitting",
    )
    taken_apart = run_decomposition(
        strong.result.classifier,
        STRONG_DATA,
        name="strong",
        strong_uri=strong.uri,
        settings=SEARCH,
        sink=sink,
    )
    patched = run_patch(
        weak.result.classifier,
        [taken_apart.of_class("c"), taken_apart.of_class("a")],
        WEAK_DATA,
        name="patched",
        weak_uri=weak.uri,
        sink=sink,
    )
    return sink, strong, weak, taken_apart, patched


def test_training_hands_over_the_classifier_with_its_evidence() -> None:
    sink, strong, weak, _, _ = story()
    assert [(one.name, one.kind) for one in sink.classifiers] == [
        ("strong", "strong"),
        ("weak", "weak"),
    ]
    assert (strong.uri, weak.uri) == ("models:/strong/1", "models:/weak/2")
    record = sink.classifiers[1]
    assert record.metrics["validation_accuracy"] == weak.result.validation_accuracy
    assert record.metrics["epoch"] == max(1, weak.result.best_epoch // 2)
    assert record.cost.kernels == 14
    assert len(record.history) == 5
    assert record.provenance.seed == 2
    assert record.provenance.data_source == "bars"
    assert record.provenance.data_fingerprint == WEAK_DATA.fingerprint
    assert record.provenance.settings == {
        **TRAINING.model_dump(mode="json"),
        "data_seed": WEAK_DATA.seed,
        "stop": "underfitting",
    }


def test_decomposing_hands_over_a_calibrated_module_a_class() -> None:
    sink, strong, _, taken_apart, _ = story()
    ((record, strong_uri),) = sink.decompositions
    assert strong_uri == strong.uri
    names = [one.class_module.class_name for one in record.classes]
    assert names == ["a", "b", "c"]
    for one in record.classes:
        own = STRONG_DATA.train.of_class(one.class_module.class_name)
        scores = predict(one.class_module, own)
        assert one.calibrations["minmax"] == MinMaxCalibration(
            minimum=float(scores.min()), maximum=float(scores.max())
        )
        assert one.metrics["kernels_kept"] == one.cost.kernels <= 14
        assert one.metrics["kernels_kept_share"] == one.cost.kernels / 14
        assert one.cost.parameters == sum(p.numel() for p in one.class_module.parameters())
    assert [one.uri for one in taken_apart.modules] == [f"models:/strong-{n}/1" for n in names]
    with pytest.raises(KeyError):
        taken_apart.of_class("d")


def test_decomposing_hands_over_a_report_of_the_search() -> None:
    sink, _, _, taken_apart, _ = story()
    report = sink.decompositions[0][0].report
    assert report is not None
    assert report.class_names == ("a", "b", "c")
    assert report.segment_kernels == (6, 8)
    sizes = [one.cost.kernels for one in taken_apart.record.classes]
    assert [sum(row) for row in report.kernels_kept] == sizes
    assert list(report.history) == [dict(row) for row in taken_apart.parts.masks.history]
    others = report.overlap()[np.triu_indices(3, 1)]
    assert 1 - others.mean() == pytest.approx(taken_apart.record.metrics["diff"])
    assert report.strong_accuracy == taken_apart.record.metrics["strong_accuracy"]
    assert np.mean(report.random_accuracy) == taken_apart.record.metrics["random_accuracy"]


def test_patching_hands_over_a_manifest_with_addresses_and_evidence() -> None:
    sink, _, weak, taken_apart, patched = story()
    (manifest,) = sink.patched
    assert manifest.weak_uri == weak.uri
    assert manifest.patches == [
        AppliedPatch(
            taken_apart.of_class(name).uri,
            name,
            taken_apart.of_class(name).calibrations["minmax"],
        )
        for name in "ca"
    ]
    assert patched.uri == "models:/patched/1"
    assert [one.target for one in patched.validation] == ["c", "a"]
    labels = WEAK_DATA.validation.labels
    before = predict(weak.result.classifier, WEAK_DATA.validation.images).argmax(axis=1)
    after = predict(patched.patched, WEAK_DATA.validation.images).argmax(axis=1)
    for one, label in zip(patched.validation, (1, 2), strict=True):
        assert one.weak == class_metrics(labels, before, label)
        assert one.patched == class_metrics(labels, after, label)
    for name in METRICS:
        means = [
            float(np.mean([getattr(getattr(one, side), name) for one in patched.validation]))
            for side in ("weak", "patched")
        ]
        assert manifest.metrics[f"validation_weak_{name}"] == pytest.approx(means[0])
        assert manifest.metrics[f"validation_patched_{name}"] == pytest.approx(means[1])
        gain = manifest.metrics[f"validation_{name}_gain"]
        assert gain == pytest.approx(means[1] - means[0])


def test_everything_handed_over_is_plain_finite_json() -> None:
    sink, _, _, _, _ = story()
    ((decomposition, _),) = sink.decompositions
    (manifest,) = sink.patched
    for value in (
        *(one.provenance.settings for one in sink.classifiers),
        *(dict(one.metrics) for one in sink.classifiers),
        *([dict(step) for step in one.history] for one in sink.classifiers),
        decomposition.provenance.settings,
        dict(decomposition.metrics),
        [dict(step) for step in decomposition.history],
        dict(manifest.metrics),
        manifest.evidence,
        manifest.provenance.settings,
    ):
        text = json.dumps(value, allow_nan=False)
        assert json.loads(text)


def test_test_images_count_only_when_they_are_asked_for() -> None:
    _, _, _, _, patched = story()
    held_out = evaluate_patched(patched.patched, WEAK_DATA.test.open("a test"))
    assert [one.images for one in held_out] == [30, 30]
    assert [one.images for one in patched.validation] == [45, 45]
    metrics = evaluation_metrics(held_out, prefix="test")
    assert set(metrics) == {
        f"test_{part}" for n in METRICS for part in (f"weak_{n}", f"patched_{n}", f"{n}_gain")
    }


def test_a_module_for_a_class_that_the_weak_model_lacks_is_refused_and_nothing_registered() -> None:
    sink, _, weak, taken_apart, _ = story()
    before = len(sink.patched)
    with pytest.raises(PatchError, match="no class 'b' to patch"):
        run_patch(
            weak.result.classifier,
            [taken_apart.of_class("b")],
            WEAK_DATA,
            name="wrong",
            weak_uri=weak.uri,
            sink=sink,
        )
    assert len(sink.patched) == before
