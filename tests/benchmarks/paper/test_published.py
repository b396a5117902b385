"""Published results: the same tables without a network, and refused where something is off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.paper.protocol import PROTOCOL
from benchmarks.paper.results import MODELS, SUMMARY, TABLES, repeat
from modularizer.errors import DataError

VALIDATION, HELD_OUT = "tiny-cifar-validation.safetensors", "tiny-cifar-held-out.safetensors"


@pytest.fixture
def folder(results: Path, tmp_path: Path) -> Path:
    """What is published of it, to be changed."""
    place = tmp_path / "published"
    place.mkdir()
    for name in (PROTOCOL, VALIDATION, HELD_OUT):
        shutil.copy(results / name, place)
    return place


def test_published_scores_give_the_same_tables_without_a_network(
    results: Path, tmp_path: Path
) -> None:
    for name in (PROTOCOL, "tiny-cifar-validation.safetensors", "tiny-cifar-held-out.safetensors"):
        shutil.copy(results / name, tmp_path)
    repeat(tmp_path, tmp_path / "again")
    for name in (SUMMARY, MODELS, TABLES):
        assert (tmp_path / "again" / name).read_bytes() == (results / name).read_bytes()
    repeat(tmp_path, tmp_path / "refitted", refit=True)
    assert (tmp_path / "refitted" / MODELS).read_bytes() == (results / MODELS).read_bytes()
    assert json.loads((tmp_path / "refitted" / SUMMARY).read_text())["refitted"] is True


def test_results_that_are_incomplete_or_broken_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no results"):
        repeat(tmp_path, tmp_path)
    shutil.copy(results / PROTOCOL, tmp_path)
    with pytest.raises(DataError, match=r"tiny-cifar-validation\.safetensors holds no published"):
        repeat(tmp_path, tmp_path)
    (tmp_path / "tiny-cifar-validation.safetensors").write_bytes(b"no scores at all")
    with pytest.raises(DataError, match="holds no published scores"):
        repeat(tmp_path, tmp_path)


def test_choices_of_another_version_are_made_anew(results: Path, tmp_path: Path) -> None:
    for name in (PROTOCOL, "tiny-cifar-validation.safetensors", "tiny-cifar-held-out.safetensors"):
        shutil.copy(results / name, tmp_path)
    protocol = json.loads((results / PROTOCOL).read_text())
    del protocol["selection"]["rows"]["auto"]
    (tmp_path / PROTOCOL).write_text(json.dumps(protocol))
    with pytest.raises(DataError, match=r"has no choices for auto, .* \(--refit\)"):
        repeat(tmp_path, tmp_path / "again")
    repeat(tmp_path, tmp_path / "again", refit=True)
    assert (tmp_path / "again" / MODELS).read_bytes() == (results / MODELS).read_bytes()


def test_refitting_does_not_write_where_it_reads(folder: Path) -> None:
    before = (folder / PROTOCOL).read_bytes()
    with pytest.raises(DataError, match="give another folder to refit"):
        repeat(folder, folder, refit=True)
    assert (folder / PROTOCOL).read_bytes() == before
    assert not (folder / SUMMARY).exists()


def changed_scores(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors)
    save_file(tensors, path, metadata=about)


def put(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = value(tensors[name]).contiguous()

    return change


def with_nan(scores: torch.Tensor) -> torch.Tensor:
    found = scores.clone()
    found.view(-1)[0] = float("nan")
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("cat/patch/modules", with_nan), "cat/patch/modules holds what is no finite score"),
        (put("cat/weak/simple", with_nan), "cat/weak/simple holds what is no finite score"),
        (put("strong data/modules", with_nan), "strong data/modules holds what is no finite"),
        (put("cat/patch/modules", torch.Tensor.bool), "cat/patch/modules holds what is no"),
        (
            put("cat/patch/random", lambda one: one[:-1]),
            "cat/patch/random is 199; it should be 200",
        ),
        (put("cat/weak/simple", lambda one: one[:, :4]), "cat/labels are not of the 4 classes"),
        (put("cat/weak/overfitting", lambda one: one[:, :4]), "should be 200 x 10"),
        (put("cat/weak/simple", lambda one: one[:, 0]), "cat/labels are not of the 0 classes"),
        (put("cat/labels", lambda one: one + 90), "cat/labels are not of the 10 classes"),
        (put("cat/labels", lambda one: one.float()), "cat/labels are no int64 labels"),
        (put("cat/labels", lambda one: one.clamp(max=8)), "all of the target class, or none is"),
        (put("strong data/labels", lambda one: one - 1), "strong data/labels are not of the 10"),
        (lambda tensors: tensors.pop("ship/labels"), "ship/labels is missing"),
        (lambda tensors: tensors.pop("strong data/strong"), "strong data/strong is missing"),
    ],
)
def test_scores_that_can_not_be_are_refused(
    change: Callable[[dict[str, torch.Tensor]], None], said: str, folder: Path, tmp_path: Path
) -> None:
    changed_scores(folder / HELD_OUT, change)
    with pytest.raises(DataError, match=said):
        repeat(folder, tmp_path / "out")


def test_scores_of_another_split_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / VALIDATION, folder / HELD_OUT)
    with pytest.raises(DataError, match="said to be of tiny-cifar, validation images"):
        repeat(folder, tmp_path / "out")


def at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Put a value where a path of keys leads; `...` takes it out."""

    def change(protocol: dict[str, Any]) -> None:
        *first, last = path.split(".")
        place = protocol
        for key in first:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (at("selection", None), "selection: "),
        (at("selection.rows", []), "selection.rows: "),
        (at("selection.rows.stack", ...), "has no choices for stack"),
        (at("selection.rows.stack.models.tiny-cifar/cat/simple", ...), "row 'stack' and the track"),
        (at("selection.rows.stack.models.tiny-cifar/cat/simple.calibrations", []), "calibrations"),
        (
            at("selection.rows.stack.models.tiny-cifar/cat/simple.fusion.weak_weights", [1, 2]),
            "stacking has 2 weights for 1 patches",
        ),
        (at("selection.chosen.paper", "stack"), "selection.chosen.paper: "),
        (at("selection.chosen.best", "nothing"), "'nothing' is no row that may be chosen"),
        (at("selection.chosen.best", "strong-paper"), "'strong-paper' is no row that may be"),
        (at("selection.chosen.best_replacement", "stack"), "'stack' is no replacement"),
        (at("track.suites", []), "track.suites: "),
        (at("decompositions", {}), "decompositions are of"),
        (at("decompositions.tiny-cifar.kernels", 0), "decompositions.tiny-cifar.kernels: "),
        (at("decompositions.tiny-cifar.kernels", "9"), "decompositions.tiny-cifar.kernels: "),
        (at("decompositions.tiny-cifar.classes", []), "decompositions.tiny-cifar.classes: "),
        (at("images", ...), "images: "),
        (at("images", 7), "images: "),
        (at("seconds", ...), "seconds: "),
        (at("environment", "here"), "environment: "),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused_before_anything_is_written(
    change: Callable[[dict[str, Any]], None], said: str, folder: Path, tmp_path: Path
) -> None:
    protocol = json.loads((folder / PROTOCOL).read_text())
    change(protocol)
    (folder / PROTOCOL).write_text(json.dumps(protocol))
    with pytest.raises(DataError, match=said):
        repeat(folder, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("text", ["", "no JSON", "[" * 200_000])
def test_a_protocol_that_is_no_json_is_refused(text: str, folder: Path, tmp_path: Path) -> None:
    (folder / PROTOCOL).write_text(text)
    with pytest.raises(DataError, match=r"protocol\.json is no JSON|holds no results"):
        repeat(folder, tmp_path / "out")
