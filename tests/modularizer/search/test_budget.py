from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from modularizer.analysis.multiply_adds import multiply_adds_model
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.rescnn import rescnn
from modularizer.architectures.simcnn import simcnn
from modularizer.assembly.decode import decode
from modularizer.cost import count_cost
from modularizer.errors import ModularizerError
from modularizer.preprocessing import Preprocessing
from modularizer.search.budget import Budget, Selector, kernel_budget, multiply_add_budget

CPU = torch.device("cpu")
RGB = Preprocessing(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
NETWORKS: dict[str, nn.Module] = {
    "plain": simcnn(3, stages=((10, 20), (40,)), hidden=(8,)).eval(),
    "coupled": rescnn(3, width_multiplier=1 / 16).eval(),
}
PLANS = {name: slicing_plan(network, (3, 32, 32)) for name, network in NETWORKS.items()}


def random_scores(plan: SlicingPlan, seed: int) -> Tensor:
    return torch.randn(3, plan.channels, generator=torch.Generator().manual_seed(seed))


def budget_of(name: str, kind: str, share: float) -> Budget:
    if kind == "kernels":
        return kernel_budget(PLANS[name], share, CPU)
    model = multiply_adds_model(NETWORKS[name], PLANS[name], (3, 32, 32))
    return multiply_add_budget(model, share, CPU)


def blocks(scores: Tensor, segment: slice, alignment: int) -> list[Tensor]:
    """A segment's channels of one class in blocks, best first."""
    order = scores[segment].argsort(descending=True) + segment.start
    return list(order.split(alignment))


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("kind", ["kernels", "multiply-adds"])
@settings(max_examples=30)
@given(seed=st.integers(0, 1000), share=st.floats(0.4, 1), alignment=st.sampled_from([1, 3, 8, 16]))
def test_masks_are_the_best_blocks_that_the_budget_allows(
    name: str, kind: str, seed: int, share: float, alignment: int
) -> None:
    """Against taking blocks one by one, in plain Python."""
    plan, scores, budget = (
        PLANS[name],
        random_scores(PLANS[name], seed),
        budget_of(name, kind, share),
    )
    found = Selector(plan, alignment=alignment, device=CPU).select(scores, budget).masks
    for row in range(3):
        cut = [blocks(scores[row], segment.channels, alignment) for segment in plan.segments]
        kept = torch.zeros(3, plan.channels, dtype=torch.bool)
        for first, *_ in cut:
            kept[row, first] = True
        others = [block for _, *rest in cut for block in rest]
        for block in sorted(others, key=lambda one: -float(scores[row, one].mean())):
            more = kept.clone()
            more[row, block] = True
            if float(budget.cost(more)[row]) > budget.most:
                break
            kept = more
        assert torch.equal(found[row], kept[row])


@pytest.mark.parametrize("name", PLANS)
@given(seed=st.integers(0, 1000), share=st.floats(0.3, 1))
def test_single_channels_use_a_kernel_budget_up(name: str, seed: int, share: float) -> None:
    plan = PLANS[name]
    budget = kernel_budget(plan, share, CPU)
    masks = Selector(plan, alignment=1, device=CPU).select(random_scores(plan, seed), budget).masks
    kept = plan.kernels_kept(masks)
    most = int(share * plan.kernels)
    assert bool((kept <= most).all())
    assert bool((kept > most - int(plan.kernels_per_channel.max())).all())


def test_decoded_networks_stay_within_a_multiply_add_budget() -> None:
    for name, plan in PLANS.items():
        whole = count_cost(NETWORKS[name], RGB).multiply_adds
        budget = budget_of(name, "multiply-adds", 0.4)
        selector = Selector(plan, alignment=1, device=CPU)
        masks = selector.select(random_scores(plan, 0), budget).masks
        for output, kept in enumerate(masks):
            cost = count_cost(decode(NETWORKS[name], plan, kept, output=output), RGB)
            assert 0.3 * whole < cost.multiply_adds <= 0.4 * whole


@pytest.mark.parametrize("alignment", [8, 16])
def test_widths_are_aligned_or_whole(alignment: int) -> None:
    plan = PLANS["plain"]
    selector = Selector(plan, alignment=alignment, device=CPU)
    widths = set()
    for seed in range(20):
        budget = kernel_budget(plan, 0.65 + 0.015 * seed, CPU)
        masks = selector.select(random_scores(plan, seed), budget).masks
        for segment in plan.segments:
            for width in masks[:, segment.channels].sum(1).tolist():
                assert width % alignment == 0 or width == len(segment)
                widths.add((len(segment), width))
    assert len(widths) > 4


def test_the_bar_lies_between_what_is_taken_and_what_is_not() -> None:
    plan = PLANS["plain"]
    scores = random_scores(plan, 1)
    selector = Selector(plan, alignment=1, device=CPU)
    chosen = selector.select(scores, kernel_budget(plan, 0.5, CPU))
    assert torch.equal(scores > chosen.bar[:, None], chosen.masks)


class HalfCoupled(nn.Module):
    """A concatenation meets an addition: the second convolution has some channels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(3, 4, 3, padding=1)
        self.third = nn.Conv2d(3, 8, 3, padding=1)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.first(x), self.second(x)], dim=1) + self.third(x)
        scores: Tensor = self.out(both.relu().mean((2, 3)))
        return scores


def test_each_layer_of_a_segment_keeps_a_channel() -> None:
    network = HalfCoupled()
    plan = slicing_plan(network, (3, 8, 8))
    scores = random_scores(plan, 0)
    scores[:, :4] -= 100
    for alignment in (1, 2):
        selector = Selector(plan, alignment=alignment, device=CPU)
        masks = selector.select(scores, kernel_budget(plan, 0.5, CPU)).masks
        for kept in masks:
            decode(network, plan, kept)  # refuses a mask that empties a layer


def test_a_budget_that_no_mask_meets_is_refused() -> None:
    plan = PLANS["plain"]
    scores = random_scores(plan, 0)
    Selector(plan, alignment=1, device=CPU).require_possible(scores, kernel_budget(plan, 0.05, CPU))
    for alignment, share in ((1, 0.04), (16, 0.5)):
        selector = Selector(plan, alignment=alignment, device=CPU)
        with pytest.raises(ModularizerError, match=f"a budget of {share} .* can't be met"):
            selector.require_possible(scores, kernel_budget(plan, share, CPU))
