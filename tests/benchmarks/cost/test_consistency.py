"""The paper's figures against each other, by arithmetic of its layers."""

from __future__ import annotations

import pytest

from benchmarks.cost.consistency import check_published, implied_by_published
from benchmarks.paper.published import MODULE_MEANS, MODULES, NETWORKS

SIMCNN = [  # kernels, side of the output
    *((64, 32), (64, 32), (128, 16), (128, 16), (256, 8), (256, 8), (256, 8)),
    *((512, 4), (512, 4), (512, 4), (512, 2), (512, 2), (512, 2)),
]
RESCNN = [
    *((64, 32), (128, 32), (128, 16), (128, 16), (256, 16), (512, 8), (512, 4), (512, 4)),
    *((512, 4), (512, 2), (512, 1), (512, 1)),
]
HEADS = {"simcnn": [512, 512], "rescnn": []}


def cost(name: str, early: float, late: float) -> float:
    """Multiply-adds of a module whose layers keep such shares, layer by layer."""
    total, inputs = 0.0, 3.0
    for kernels, side in SIMCNN if name == "simcnn" else RESCNN:
        outputs = kernels * (early if kernels < 512 else late)
        total += 9 * inputs * outputs * side * side
        inputs = outputs
    for width in HEADS[name]:
        total += inputs * width
        inputs = width
    return total + inputs


def test_the_published_totals_and_means_agree() -> None:
    found = check_published()
    assert len(found) == 3 * len(NETWORKS) + len(MODULE_MEANS)
    assert [one["name"] for one in found if not one["agrees"]] == []


def test_a_figure_that_does_not_fit_is_said_to_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "simcnn-cifar", {"kernels": 2717, "multiply_adds": 164_300_000})
    monkeypatch.setitem(NETWORKS["rescnn"], "parameters", 16_010_123)
    differing = [one["name"] for one in check_published() if not one["agrees"]]
    assert differing == [
        "rescnn, ten classes: parameters",
        "mean module's share of the kernels, four decompositions",
    ]


@pytest.mark.parametrize("place", range(4))
def test_kernels_where_they_are_said_to_lie_cost_what_is_published(place: int) -> None:
    found = implied_by_published()[place]
    name, published = found["name"].split("-")[0], MODULES[found["name"]]
    whole, layers = NETWORKS[name], SIMCNN if name == "simcnn" else RESCNN
    early, late = found["early_kept"], found["late_kept"]
    kernels = sum(k * (early if k < 512 else late) for k, _ in layers)
    assert sum(k for k, _ in layers) == whole["kernels"]
    assert kernels == pytest.approx(published["kernels"])
    assert cost(name, early, late) == pytest.approx(published["multiply_adds"])
    evenly = published["kernels"] / whole["kernels"]
    assert found["evenly_kept_multiply_adds_share"] == pytest.approx(
        cost(name, evenly, evenly) / whole["multiply_adds"]
    )
    assert 0 < late < evenly < early < 1


def test_the_modules_side_by_side_cost_more_than_the_strong_network() -> None:
    found = {one["name"]: one["composed_multiply_adds_share"] for one in implied_by_published()}
    assert found == {
        "simcnn-cifar": pytest.approx(10 * 164.3 / 313.73),
        "simcnn-svhn": pytest.approx(5 * 107.8 / 313.73),
        "rescnn-cifar": pytest.approx(10 * 225.4 / 431.17),
        "rescnn-svhn": pytest.approx(5 * 142.1 / 431.17),
    }


def test_a_cost_that_so_many_kernels_can_not_have_is_not_explained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(MODULES, "rescnn-svhn", {"kernels": 2317, "multiply_adds": 425_000_000})
    found = implied_by_published()[-1]
    assert (found["early_kept"], found["late_kept"]) == (None, None)
