from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modularizer.analysis.sensitivity import DROP_RATIOS, Sensitivity, measure_sensitivity
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.simcnn import simcnn
from modularizer.assembly.masking import masked
from modularizer.progress import Progress


def test_sensitivity_equals_a_plain_computation_on_a_small_network() -> None:
    torch.manual_seed(0)
    network = simcnn(3, stages=((6,), (5,)), hidden=(), input_size=4).double().eval()
    plan = slicing_plan(network, (3, 4, 4))
    images = torch.randn(40, 3, 4, 4, dtype=torch.float64)
    labels = torch.randint(3, (40,))
    weight = torch.rand(3, plan.channels)
    reports: list[Progress] = []

    def accuracy(dropped: list[list[int]]) -> float:
        columns = []
        for label, gone in enumerate(dropped):
            kept = torch.tensor([channel not in gone for channel in range(plan.channels)])
            with torch.no_grad(), masked(network, plan, kept):
                columns.append(network(images)[:, label])
        return float((torch.stack(columns, 1).argmax(1) == labels).double().mean())

    kept_rows: list[Tensor] = []
    found = measure_sensitivity(
        plan,
        weight,
        lambda masks: accuracy([(~kept).nonzero().flatten().tolist() for kept in masks]),
        unharmed=accuracy([[], [], []]),
        on_segment=kept_rows.append,
        progress=reports.append,
    )
    assert torch.equal(kept_rows[-1], found.accuracy)
    assert torch.equal(kept_rows[0], found.accuracy[:1])
    for index, segment in enumerate(plan.segments):
        for position, ratio in enumerate(DROP_RATIOS):
            dropped = []
            for label in range(3):
                own = weight[label].tolist()
                ranked = sorted(range(segment.start, segment.stop), key=own.__getitem__)
                dropped.append(ranked[: round(len(segment) * ratio)])
            assert float(found.accuracy[index, position]) == accuracy(dropped)
    assert found.accuracy.unique().numel() > 3  # dropping changes something here
    assert [(r.stage, r.done, r.total) for r in reports] == [
        ("sensitivity", 1, 2),
        ("sensitivity", 2, 2),
    ]


@pytest.mark.parametrize(
    ("last", "sensitive"), [(0.90, False), (0.86, False), (0.84, True), (0.2, True), (0.99, False)]
)
def test_a_segment_is_sensitive_that_loses_more_than_tolerated_at_the_end(
    last: float, sensitive: bool
) -> None:
    rows = torch.tensor([[0.1, last]], dtype=torch.float64)
    found = Sensitivity((0.5, 0.9), rows, unharmed=0.9, tolerated_loss=0.05)
    assert found.sensitive.tolist() == [sensitive]


def test_each_mask_that_is_tried_harms_one_segment_alone() -> None:
    network = simcnn(2, stages=((6,), (5,)), hidden=(), input_size=4)
    plan = slicing_plan(network, (3, 4, 4))
    tried: list[Tensor] = []

    def accuracy(masks: Tensor) -> float:
        tried.append(masks)
        return 0.5

    weight = torch.rand(2, plan.channels)
    measure_sensitivity(plan, weight, accuracy, unharmed=0.5, drop_ratios=(0.2, 0.8))
    assert len(tried) == 2 * 2
    for masks in tried[:2]:
        assert masks[:, 6:].all()
        assert not masks[:, :6].all()
    for masks in tried[2:]:
        assert masks[:, :6].all()
        assert not masks[:, 6:].all()


def test_an_interrupted_measurement_goes_on_with_the_next_segment() -> None:
    network = simcnn(2, stages=((6,), (5,), (4,)), hidden=(), input_size=8)
    plan = slicing_plan(network, (3, 8, 8))
    weight = torch.rand(2, plan.channels)

    def share(masks: Tensor) -> float:
        return float(masks.double().mean())

    whole = measure_sensitivity(plan, weight, share, unharmed=0.5)
    tried: list[Tensor] = []

    def counted(masks: Tensor) -> float:
        tried.append(masks)
        return share(masks)

    known = whole.accuracy[:2]
    rest = measure_sensitivity(plan, weight, counted, unharmed=0.5, known=known)
    assert torch.equal(rest.accuracy, whole.accuracy)
    assert len(tried) == len(DROP_RATIOS)
