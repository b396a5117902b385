"""Shares and the paper's figures beside counts that were made up, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.cost.counting import Counted
from benchmarks.cost.rows import TakenApart, suite_of


def taken_apart(**changed: Any) -> TakenApart:
    made: dict[str, Any] = {
        "name": "made up",
        "masks": "none",
        "strong": Counted("strong", 100, 1000, parameters=400, weights_bytes=1600),
        "modules": (Counted("cat", 60, 300, parameters=100), Counted("strong", 30, 200)),
    }
    return TakenApart(**(made | changed))


def by_kind(found: TakenApart) -> dict[str, Any]:
    return {f"{one['kind']}/{one['name']}": one for one in found.rows()}


def test_each_row_has_its_share_of_the_strong_network() -> None:
    rows = by_kind(taken_apart())
    assert list(rows) == [
        *("strong/strong", "module/cat", "module/strong"),
        *("mean/mean module", "composed/composed"),
    ]
    assert rows["module/cat"]["kernels_share"] == 0.6
    assert rows["module/cat"]["parameters_share"] == 0.25
    assert rows["module/cat"]["weights_bytes_share"] is None
    assert rows["mean/mean module"]["multiply_adds"] == 250
    assert rows["composed/composed"]["multiply_adds_share"] == 0.5
    assert rows["composed/composed"]["kernels_share"] == 0.9
    assert rows["composed/composed"]["parameters"] is None
    assert rows["strong/strong"]["multiply_adds_share"] == 1
    assert {one["paper"] for one in rows.values()} == {None}


def test_nothing_is_composed_where_a_class_has_no_module() -> None:
    assert "composed/composed" not in by_kind(taken_apart(missing=("dog",)))


def test_the_paper_s_shares_stand_beside_a_narrower_network_s_mean() -> None:
    rows = by_kind(taken_apart(suite="simcnn-cifar"))
    mean = rows["mean/mean module"]
    assert mean["paper"] == {
        "kernels_share": pytest.approx(2617 / 4224),
        "multiply_adds_share": pytest.approx(164.3 / 313.73),
    }
    assert mean["to_paper"] == {
        "kernels_share": pytest.approx(0.45 / (2617 / 4224)),
        "multiply_adds_share": pytest.approx(0.25 / (164.3 / 313.73)),
    }
    assert [name for name, one in rows.items() if one["paper"]] == ["mean/mean module"]


def test_the_paper_s_counts_stand_beside_a_network_of_its_size() -> None:
    strong = Counted("strong", 4224, 313_730_000, parameters=15_245_130)
    rows = by_kind(taken_apart(suite="simcnn-cifar", strong=strong))
    assert set(rows["strong/strong"]["to_paper"].values()) == {1}
    assert rows["mean/mean module"]["to_paper"]["kernels"] == pytest.approx(45 / 2617)


@pytest.mark.parametrize(
    ("name", "arguments", "suite"),
    [
        ("simcnn", {"num_classes": 10}, "simcnn-cifar"),
        ("rescnn", {"num_classes": 5, "dropout": 0.1, "input_size": 32}, "rescnn-svhn"),
        ("simcnn", {"num_classes": 10, "width_multiplier": 0.25}, "simcnn-cifar"),
        ("simcnn", {"num_classes": 3}, None),
        ("simcnn", {}, None),
        ("simcnn", {"num_classes": 10, "stages": [[8], [16]]}, None),
        ("simcnn", {"num_classes": 10, "batch_norm": True}, None),
        ("rescnn", {"num_classes": 10, "input_size": 64}, None),
        ("simple_simcnn", {"num_classes": 10}, None),
        ("torchvision.resnet18", {"num_classes": 10}, None),
    ],
)
def test_the_paper_s_network_is_told_by_its_form(
    name: str, arguments: dict[str, Any], suite: str | None
) -> None:
    assert suite_of(name, arguments) == suite
