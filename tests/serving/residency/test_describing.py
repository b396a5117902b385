"""What is told of a model, from the registry and from the cache alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import BundleError
from registry.registry import Registry
from serving.engine.executors.in_turn import SequentialExecutor
from serving.protocol import NetworkCost
from serving.residency.building import Builder
from serving.residency.describing import KnownPart
from serving.residency.parts import PartCache
from tests.serving.samples import judged

ASKED = "models:/served@champion"


@pytest.fixture
def builder(home: Path) -> Builder:
    return Builder(PartCache(), (SequentialExecutor(),), home=home)


def test_a_model_is_described_by_what_the_registry_has(home: Path, builder: Builder) -> None:
    registry = Registry.open(home)
    version = registry.find(ASKED)
    told = builder.build(registry, version).description
    assert (told.model.uri, told.digest) == (version.uri, version.digest)
    assert told.class_names == version.class_names
    assert told.metrics == {"validation_f1_gain": 0.25}
    assert (told.fusion, told.mirrored, told.from_cache) == ("stack", True, False)
    assert told.weak.uri == "models:/weak/1"
    assert told.weak.cost == NetworkCost(kernels=14, parameters=1, multiply_adds=1)
    [patch] = told.patches
    assert (patch.patch, patch.module_class) == ("cone", "TC")
    assert (patch.module, patch.strong) == ("models:/strong.TC/1", "models:/strong/1")
    assert patch.calibration == "fitted"
    assert patch.metrics["kernels_kept"] == 14
    assert "kernels" not in patch.metrics
    assert patch.validation == judged("cone")


def test_the_cache_alone_tells_the_same(home: Path, builder: Builder) -> None:
    registry = Registry.open(home)
    version = registry.find(ASKED)
    built = builder.build(registry, version)
    builder.remember(ASKED, version)
    recalled = Builder(PartCache(), (SequentialExecutor(),), home=home).recall(ASKED)
    assert recalled.description == built.description
    assert recalled.from_cache


def test_a_model_whose_evidence_can_not_be_read_answers_all_the_same(
    home: Path, builder: Builder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry.open(home)

    def fail(uri: str) -> None:
        raise BundleError(f"{uri} is broken")

    monkeypatch.setattr(registry, "evidence", fail)
    served = builder.build(registry, registry.find(ASKED))
    assert served.description.patches[0].validation is None
    assert "models:/served/1 is broken" in caplog.text


def test_a_cost_of_which_a_part_is_missing_is_unknown() -> None:
    part = KnownPart("models:/a/1", {"kernels": 3, "parameters": 4, "accuracy": 0.5}, ())
    assert part.cost is None
    assert part.metrics == {"accuracy": 0.5}
