"""What a search did, kept with every class module and drawn beside the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from modularizer.analysis.tracing import slicing_plan
from modularizer.records import Decomposition
from modularizer.search_report import SearchReport, report_search
from registry.bundles.manifest import EVIDENCE_FILE
from registry.bundles.strict_json import parse_strict_json
from registry.errors import BundleError
from registry.registry import Registry
from registry.reports import dump_report, report_in
from tests.registry.conftest import client_of, make_decomposition, make_trained

HISTORY = [
    {"fitness": 0.3, "accuracy": 0.2, "diff": 0.6, "kernels_kept": 20.0},
    {"fitness": 0.6, "accuracy": 0.6, "diff": 0.5, "kernels_kept": 21.0},
]


def with_report(record: Decomposition, strong: torch.nn.Module) -> Decomposition:
    report = report_search(
        slicing_plan(strong, (1, 8, 8)),
        torch.stack([one.class_module.kept for one in record.classes]),
        class_names=[one.class_module.class_name for one in record.classes],
        history=HISTORY,
        strong_accuracy=0.9,
        random_accuracy=[0.3],
    )
    return replace(record, history=HISTORY, report=report)


@dataclass(frozen=True)
class Searched:
    record: Decomposition
    uris: Sequence[str]
    run_id: str

    @property
    def report(self) -> SearchReport:
        assert self.record.report is not None
        return self.record.report


@pytest.fixture(scope="module")
def searched(registry: Registry) -> Searched:
    trained = make_trained("searched")
    strong_uri = registry.add_classifier(trained)
    record = with_report(
        make_decomposition("searched", trained.classifier), trained.classifier.network
    )
    uris = registry.add_decomposition(record, strong_uri=strong_uri)
    return Searched(record, uris, registry.find(uris[0]).run_id)


def test_every_class_module_holds_the_report_of_its_search(
    registry: Registry, searched: Searched
) -> None:
    for uri in searched.uris:
        assert EVIDENCE_FILE in registry.manifest(uri).files
        assert report_in(registry.evidence(uri), "zero") == searched.report


def test_the_pictures_are_beside_the_run_and_not_in_the_bundles(
    registry: Registry, searched: Searched, tmp_path: Path
) -> None:
    client = client_of(registry)
    listed = {entry.path for entry in client.list_artifacts(searched.run_id, "pictures")}
    assert listed == {
        "pictures/convergence.png",
        "pictures/kernels-kept.png",
        "pictures/overlap.png",
    }
    fetched = Path(client.download_artifacts(searched.run_id, "pictures", str(tmp_path)))
    for picture in fetched.iterdir():
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert set(registry.manifest(searched.uris[0]).files) == {"weights.safetensors", EVIDENCE_FILE}


def test_the_history_is_a_curve_a_metric_with_the_generation_as_step(
    registry: Registry, searched: Searched
) -> None:
    client = client_of(registry)
    for metric in HISTORY[0]:
        points = client.get_metric_history(searched.run_id, f"generation/{metric}")
        assert [(p.step, p.value) for p in points] == [
            (generation, row[metric]) for generation, row in enumerate(HISTORY, start=1)
        ]


def test_a_report_that_was_changed_is_refused(registry: Registry, home: Path) -> None:
    trained = make_trained("tampered")
    strong_uri = registry.add_classifier(trained)
    record = make_decomposition("tampered", trained.classifier)
    record = with_report(record, trained.classifier.network)
    uri = registry.add_decomposition(record, strong_uri=strong_uri)[0]
    (file,) = home.rglob(f"{registry.find(uri).model_id}/**/{EVIDENCE_FILE}")
    raw = file.read_bytes()
    file.write_bytes(raw.replace(b"0.6", b"0.9"))
    assert file.read_bytes() != raw
    with pytest.raises(BundleError, match=r"evidence\.json was changed"):
        registry.evidence(uri)


def test_evidence_without_a_report_has_none() -> None:
    assert report_in({}, "a") is None
    assert report_in({"confusion": [[1]]}, "a") is None


def test_evidence_of_another_search_is_refused(searched: Searched) -> None:
    with pytest.raises(BundleError, match="without the class 'nine'"):
        report_in(parse_strict_json(dump_report(searched.report), EVIDENCE_FILE), "nine")


def test_evidence_whose_report_is_none_is_refused() -> None:
    with pytest.raises(BundleError, match=r"evidence\.json is not valid"):
        report_in({"search": {"class_names": ["a"]}}, "a")
    with pytest.raises(BundleError, match=r"evidence\.json is not valid"):
        report_in({"search": [1]}, "a")


def test_a_report_with_nan_is_refused_when_it_is_written(searched: Searched) -> None:
    broken = searched.report.model_copy(update={"history": ({"fitness": float("nan")},)})
    with pytest.raises(BundleError, match=r"can.t be stored as JSON"):
        dump_report(broken)


def test_a_report_of_a_hundred_classes_and_fifty_layers_is_small() -> None:
    classes, layers = 100, 50
    kept = [[40] * layers] * classes
    report = SearchReport(
        class_names=tuple(f"class {index}" for index in range(classes)),
        layers=tuple(f"layer{index}.conv" for index in range(layers)),
        segment_kernels=(64,) * layers,
        kernels=64 * layers,
        kernels_kept=tuple(map(tuple, kept)),
        kernels_shared=tuple((1234,) * index + (2000,) for index in range(classes)),
        history=tuple({**HISTORY[0], "fitness": 1 / 3, "passes": 1e6} for _ in range(200)),
        strong_accuracy=0.9,
        random_accuracy=(0.1,) * 5,
    )
    raw = dump_report(report)
    assert len(raw) < 100_000
    assert report_in(parse_strict_json(raw, EVIDENCE_FILE), "class 0") == report


def test_a_search_whose_pictures_cannot_be_stored_is_registered_all_the_same(
    registry: Registry, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = make_trained(fresh_name)
    strong_uri = registry.add_classifier(trained)
    record = make_decomposition(fresh_name, trained.classifier)
    record = with_report(record, trained.classifier.network)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("registry.store.runs.RunLog.upload_pictures", fail)
        uris = registry.add_decomposition(record, strong_uri=strong_uri)
    assert report_in(registry.evidence(uris[0]), "zero") == record.report
    assert client_of(registry).get_run(registry.find(uris[0]).run_id).info.status == "FINISHED"
