from __future__ import annotations

import pytest
import torch

from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.rescnn import simple_rescnn
from modularizer.assembly.masking import masked
from modularizer.search.scoring import CandidateScorer


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_a_column_is_the_masked_network_s_score_of_the_class(batch_size: int) -> None:
    torch.manual_seed(0)
    network = simple_rescnn(3, width=5, in_channels=1, input_size=8, batch_norm=True)
    network.double().train()
    plan = slicing_plan(network, (1, 8, 8))
    images = torch.randn(10, 1, 8, 8, dtype=torch.float64)
    masks = torch.rand(3, 4, plan.channels) < 0.7
    for segment in plan.segments:
        masks[..., segment.start] = True
    scorer = CandidateScorer(network, plan, images, batch_size=batch_size)
    columns = scorer.columns(masks)
    assert columns.shape == (3, 4, 10)
    assert scorer.passes == 3 * 4 * 10
    assert all(module.training for module in network.modules())
    network.eval()
    for label in range(3):
        for candidate in range(4):
            with torch.no_grad(), masked(network, plan, masks[label, candidate]):
                expected = network(images)[:, label]
            torch.testing.assert_close(columns[label, candidate], expected, rtol=1e-10, atol=1e-10)


def test_composed_accuracy_is_that_of_an_argmax_over_columns() -> None:
    torch.manual_seed(0)
    network = simple_rescnn(3, width=5, in_channels=1, input_size=8).eval()
    plan = slicing_plan(network, (1, 8, 8))
    images = torch.randn(30, 1, 8, 8)
    labels = torch.randint(3, (30,))
    scorer = CandidateScorer(network, plan, images)
    everything = torch.ones(3, plan.channels, dtype=torch.bool)
    with torch.no_grad():
        expected = float((network(images).argmax(1) == labels).double().mean())
    assert scorer.composed_accuracy(everything, labels) == expected
