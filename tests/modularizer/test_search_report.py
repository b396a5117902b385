from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.decode import decode
from modularizer.search.diversity import diff
from modularizer.search_report import SearchReport, report_search

RESCNN = ArchitectureSpec(
    name="rescnn",
    arguments={"num_classes": 4, "width_multiplier": 0.125, "in_channels": 1, "input_size": 32},
)
CLASSES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network(RESCNN).eval()


@pytest.fixture(scope="module")
def plan(network: nn.Module) -> SlicingPlan:
    return slicing_plan(network, (1, 32, 32))


@pytest.fixture(scope="module")
def kept(plan: SlicingPlan) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    kept = torch.rand((len(CLASSES), plan.channels), generator=generator) < 0.6
    for segment in plan.segments:
        kept[:, segment.start] = True
    return kept


@pytest.fixture(scope="module")
def report(plan: SlicingPlan, kept: Tensor) -> SearchReport:
    return report_search(
        plan,
        kept,
        class_names=CLASSES,
        history=[{"fitness": 0.5, "diff": 0.1}, {"fitness": 0.7}, {"fitness": 0.7}],
        strong_accuracy=0.9,
        random_accuracy=[0.2, 0.4],
    )


def kernels_by_layer(network: nn.Module) -> dict[str, int]:
    return {
        name: layer.out_channels
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
    }


def test_kernels_kept_are_those_of_the_decoded_modules(
    report: SearchReport, network: nn.Module, plan: SlicingPlan, kept: Tensor
) -> None:
    assert any("+" in layers for layers in report.layers)
    whole = kernels_by_layer(network)
    assert report.kernels == sum(whole.values())
    for index, mask in enumerate(kept):
        module = kernels_by_layer(decode(network, plan, mask, output=index))
        for segment, layers in enumerate(report.layers):
            count = sum(module[layer] for layer in layers.split("+"))
            of_all = sum(whole[layer] for layer in layers.split("+"))
            assert report.kernels_kept[index][segment] == count
            assert report.segment_kernels[segment] == of_all
            assert report.kept_share()[index, segment] == pytest.approx(count / of_all)


def test_overlap_is_jaccard_of_kernel_sets(
    report: SearchReport, plan: SlicingPlan, kept: Tensor
) -> None:
    sets = []
    for mask in kept.tolist():
        kernels = set()
        for segment in plan.segments:
            for channel in range(segment.start, segment.stop):
                if mask[channel]:
                    kernels |= {(layer, channel) for layer in segment.layers}
        sets.append(kernels)
    overlap = report.overlap()
    for (i, a), (j, b) in combinations(enumerate(sets), 2):
        assert overlap[i, j] == overlap[j, i] == pytest.approx(len(a & b) / len(a | b))
    assert overlap.diagonal().tolist() == [1] * 4
    off_diagonal = overlap[np.triu_indices(4, 1)]
    assert 1 - off_diagonal.mean() == pytest.approx(diff(kept, plan.kernels_per_channel))


def test_the_closest_classes_come_first(report: SearchReport) -> None:
    closest = report.closest("b")
    assert {name for name, _ in closest} == {"a", "c", "d"}
    assert [alike for _, alike in closest] == sorted((a for _, a in closest), reverse=True)
    assert dict(closest)["d"] == report.overlap()[1, 3]


def test_the_best_generation_is_the_first_that_reached_the_fitness(report: SearchReport) -> None:
    assert report.best_generation == 2
    assert report.model_copy(update={"history": ()}).best_generation == 0


def test_a_report_comes_back_from_json_as_it_went_in(report: SearchReport) -> None:
    assert SearchReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": ("conv_0",)},
        {"kernels_kept": ((1,),) * 4},
        {"kernels_shared": ((1,), (1,), (1,), (1,))},
        {"segment_kernels": (0,) * 6},
        {"strong_accuracy": float("nan")},
        {"unknown": 1},
    ],
)
def test_a_report_that_does_not_fit_together_is_refused(
    report: SearchReport, wrong: dict[str, object]
) -> None:
    with pytest.raises(ValidationError):
        SearchReport.model_validate({**report.model_dump(), **wrong})
