from __future__ import annotations

import copy
import math
from dataclasses import fields, replace
from functools import lru_cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modularizer.analysis.importance import importance
from modularizer.analysis.multiply_adds import multiply_adds_model
from modularizer.analysis.plan import SlicingPlan
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.rescnn import simple_rescnn
from modularizer.assembly.decode import decode
from modularizer.assembly.masking import masked
from modularizer.classifier import frozen
from modularizer.errors import DataError, ModularizerError
from modularizer.search.budget import kernel_budget, multiply_add_budget
from modularizer.search.diversity import diff
from modularizer.search.gates import GateKind
from modularizer.search.gradient import (
    GradientSearch,
    GradientState,
    composed_scores,
    ranking_loss,
    soft_diff,
    within_budget,
)
from modularizer.search.population import random_masks_like

CPU = torch.device("cpu")
KINDS: tuple[GateKind, ...] = ("straight-through", "hard-concrete")


class Planted(nn.Module):
    """Each class has one kernel that tells it; others are louder and tell nothing.

    Channel c of an image is bright if it is of class c. Kernel c sees that, and the head counts
    it for class c. Kernels 4 to 7 give a loud constant that the head never reads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 1)
        self.out = nn.Linear(8, 4)
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.bias.copy_(torch.tensor([0.0] * 4 + [5.0] * 4))  # type: ignore[union-attr]
            self.conv.weight[range(4), range(4), 0, 0] = 1.0
            self.out.weight.zero_()
            self.out.bias.zero_()
            self.out.weight[:, :4] = 2 * torch.eye(4)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.out(self.conv(x).relu().mean((2, 3)))
        return scores


def planted_images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    images = torch.rand(count, 4, 2, 2, generator=generator)
    images[torch.arange(count), labels] += 1
    return images, labels


def as_it_is(images: Tensor) -> Tensor:
    """The images here are prepared already."""
    return images


def bars(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise with a bright bar whose place is the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 1, 8, 8, generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, :, 2 * label + 1] += 0.9
    return images - 0.6, labels


@lru_cache(maxsize=1)
def trained() -> tuple[nn.Module, SlicingPlan, Tensor]:
    """A network with coupled layers that knows the bars, its plan and its importance."""
    images, labels = bars(120, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = simple_rescnn(3, width=8, in_channels=1, input_size=8)
        optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
        for _ in range(30):
            loss = F.cross_entropy(network(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    network.eval().requires_grad_(False)
    plan = slicing_plan(network, (1, 8, 8))
    return network, plan, importance(network, plan, [[images[labels == c]] for c in range(3)])


def search_of(share: float = 0.4, *, gates: GateKind = "straight-through") -> GradientSearch:
    network, plan, _ = trained()
    images, labels = bars(240, 0)
    budget = kernel_budget(plan, share, CPU)
    return GradientSearch(
        network,
        plan,
        images,
        labels,
        as_it_is,
        budget,
        gates=gates,
        epochs=4,
        batch_size=16,
        learning_rate=0.1,
    )


def started(search: GradientSearch, seed: int = 0) -> GradientState:
    return search.start(trained()[2], torch.Generator().manual_seed(seed))


def run(search: GradientSearch, state: GradientState, epochs: int | None = None) -> GradientState:
    for _ in range(search.epochs - state.epoch if epochs is None else epochs):
        state = search.advance(state)
    return state


def same(first: GradientState, second: GradientState) -> bool:
    pairs = [(getattr(first, one.name), getattr(second, one.name)) for one in fields(first)]
    return all(torch.equal(a, b) if isinstance(a, Tensor) else repr(a) == repr(b) for a, b in pairs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_search_ends_as_an_uninterrupted_one_bit_by_bit(kind: GateKind) -> None:
    search = search_of(gates=kind)
    whole = run(search, started(search))
    half = run(search, started(search), epochs=2)
    stored = copy.deepcopy({one.name: getattr(half, one.name) for one in fields(half)})
    torch.rand(3)
    again = search_of(gates=kind)  # nothing of the first search is left but what was stored
    assert same(run(again, GradientState(**stored)), whole)
    assert torch.equal(again.finish(whole), search.finish(whole))
    other = run(search, started(search, seed=1))
    assert not torch.equal(other.logits, whole.logits)


def test_advancing_leaves_the_given_state_and_the_global_generator_alone() -> None:
    search = search_of(gates="hard-concrete")
    state = started(search)
    before, global_state = copy.deepcopy(state), torch.get_rng_state()
    after = search.advance(state)
    assert same(replace(state, loss=0.0), replace(before, loss=0.0))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert (after.epoch, after.step) == (1, 10)  # 150 images, 16 a step
    assert not torch.equal(after.logits, state.logits)


@pytest.mark.parametrize("alignment", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_budget_and_alignment_are_met_at_every_epoch(kind: GateKind, alignment: int) -> None:
    search = replace(search_of(0.6, gates=kind), alignment=alignment)
    network, plan, _ = trained()
    state = started(search)
    for _ in range(2):
        state = search.advance(state)
        masks = search.finish(state)
        kept = plan.kernels_kept(masks)
        assert bool((kept <= 0.6 * plan.kernels).all())
        assert bool((kept > 0.6 * plan.kernels - alignment * 2).all())  # 2 kernels a channel
        for segment in plan.segments:
            assert bool((masks[:, segment.channels].sum(1) % alignment == 0).all())
        for output, mask in enumerate(masks):
            decode(network, plan, mask, output=output)


def test_bfloat16_moves_the_logits_almost_as_float32_does() -> None:
    wide = search_of()
    narrow = replace(wide, precision="bfloat16")
    start = started(wide)
    first, other = (search.advance(start).logits - start.logits for search in (wide, narrow))
    assert not torch.equal(first, other)
    assert float(F.cosine_similarity(first.flatten(), other.flatten(), dim=0)) > 0.95
    found = narrow.finish(run(narrow, start))
    assert bool((trained()[1].kernels_kept(found) <= 0.4 * trained()[1].kernels).all())
    assert other.dtype == torch.float32


def test_modules_run_side_by_side_on_images_as_they_lie_in_memory() -> None:
    network = Planted()
    plan = slicing_plan(network, (4, 2, 2))
    images = planted_images(4, 0)[0].contiguous(memory_format=torch.channels_last)
    strides = []
    network.register_forward_pre_hook(lambda _, args: strides.append(args[0].stride(1)))
    composed_scores(network, plan, torch.ones(4, plan.channels), images)
    assert strides == [1]


def test_a_multiply_add_budget_is_met() -> None:
    network, plan, _ = trained()
    model = multiply_adds_model(network, plan, (1, 8, 8))
    search = replace(search_of(), budget=multiply_add_budget(model, 0.3, CPU))
    masks = search.finish(run(search, started(search)))
    share = model.of_class_modules(masks) / model.whole
    assert bool((share <= 0.3).all())
    assert bool((share > 0.24).all())


@pytest.mark.parametrize("kind", KINDS)
def test_planted_kernels_are_found_among_louder_ones(kind: GateKind) -> None:
    network = Planted()
    plan = slicing_plan(network, (4, 2, 2))
    images, labels = planted_images(200, 0)
    weight = importance(network, plan, [[images[labels == c]] for c in range(4)])
    budget = kernel_budget(plan, 3 / 8, CPU)
    search = GradientSearch(
        *(network, plan, images, labels, as_it_is, budget), gates=kind, epochs=5, learning_rate=0.1
    )
    state = search.start(weight, torch.Generator().manual_seed(0))
    assert not search.finish(state)[:, :4].any()  # importance alone takes what is loud
    found = search.finish(run(search, state))
    assert bool(found.diagonal().all())
    assert found.sum(1).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_masks_beat_random_ones_and_importance_alone(kind: GateKind) -> None:
    network, plan, _ = trained()
    search = search_of(0.3, gates=kind)
    images, labels = bars(300, 1)
    state = started(search)
    found = search.finish(run(search, state))

    def composed_accuracy(masks: Tensor) -> float:
        columns = []
        for output, kept in enumerate(masks):
            with torch.no_grad(), masked(network, plan, kept):
                columns.append(network(images)[:, output])
        return float((torch.stack(columns, dim=1).argmax(dim=1) == labels).double().mean())

    accuracy = composed_accuracy(found)
    segments = [segment.channels for segment in plan.segments]
    generator = torch.Generator().manual_seed(0)
    draws = [random_masks_like(found, segments, generator) for _ in range(8)]
    assert accuracy > max(composed_accuracy(draw) for draw in draws)
    assert accuracy > composed_accuracy(search.finish(state)) + 0.05
    assert float(plan.kernels_kept(found).double().mean()) <= 0.3 * plan.kernels


def test_passes_are_what_the_network_really_ran() -> None:
    network = trained()[0]
    seen = {"forward": 0, "backward": 0}

    def forward(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen["forward"] += len(output)

        def backward(slope: Tensor) -> None:
            seen["backward"] += len(slope)

        output.register_hook(backward)

    handle = network.register_forward_hook(forward)
    try:
        search = search_of()
        state = run(search, started(search), epochs=2)
    finally:
        handle.remove()
    assert seen == {"forward": 2 * 150 * 3, "backward": 2 * 150 * 3}
    assert state.passes == seen["forward"] + 2 * seen["backward"]


def test_each_epoch_draws_as_many_images_of_each_class_without_repeats() -> None:
    search = replace(search_of(), images_per_class=20)
    generator = torch.Generator().manual_seed(0)
    first, second = search._draw(generator), search._draw(generator)
    for drawn in (first, second):
        assert len(drawn.unique()) == 60
        assert search.labels[drawn].bincount().tolist() == [20, 20, 20]
    assert set(first.tolist()) != set(second.tolist())
    everything = replace(search_of(), images_per_class=1000)
    assert len(everything._draw(generator)) == 240
    assert everything.steps == 4 * 15


@pytest.mark.parametrize("training", [False, True])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    network = copy.deepcopy(trained()[0]).train(training)
    for count, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(count % 2 == 0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    search = replace(search_of(), network=network)
    search.advance(started(search))
    with pytest.raises(ZeroDivisionError), frozen(network):
        raise ZeroDivisionError
    assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(module.training is training for module in network.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_composed_scores_are_those_of_the_decoded_modules() -> None:
    network, plan, _ = trained()
    search = search_of()
    masks = search.finish(started(search))
    images, _ = bars(20, 2)
    with torch.no_grad():
        found = composed_scores(network, plan, masks.float(), images)
        for output, kept in enumerate(masks):
            expected = decode(network, plan, kept, output=output)(images)[:, 0]
            torch.testing.assert_close(found[:, output], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_soft_diff_of_masks_is_diff(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(4, 30, generator=generator) < 0.5
    weights = torch.randint(1, 4, (30,), generator=generator)
    assert float(soft_diff(masks.float(), weights)) == pytest.approx(diff(masks, weights))


def test_modules_that_shall_differ_do_at_the_same_size() -> None:
    plain, apart = search_of(0.5), replace(search_of(0.5), diversity=5.0)
    masks = [one.finish(run(one, started(one))) for one in (plain, apart)]
    weights = trained()[1].kernels_per_channel
    assert diff(masks[1], weights) > diff(masks[0], weights) + 0.1
    assert int(masks[1].sum()) == pytest.approx(int(masks[0].sum()), abs=2)


def test_a_slope_within_the_budget_changes_no_cost() -> None:
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(3, 50, generator=generator, dtype=torch.float64)
    cost = torch.rand(3, 50, generator=generator, dtype=torch.float64) + 0.1
    within = within_budget(slope, cost)
    assert float((within * cost).sum(1).abs().max()) < 1e-12
    removed = slope - within
    ratio = removed / cost
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert float(within_budget(cost, cost).abs().max()) < 1e-12


def test_what_can_not_be_searched_is_refused() -> None:
    search = search_of(0.01)
    with pytest.raises(ModularizerError, match="can't be met"):
        started(search)
    some = search.labels != 1
    lacking = replace(search_of(), images=search.images[some], labels=search.labels[some])
    with pytest.raises(DataError, match="no image of class 1"):
        started(lacking)
    broken = replace(search_of(), images=search.images * torch.inf)
    with pytest.raises(ModularizerError, match="epoch 1 of the search ends with a loss of nan"):
        broken.advance(started(broken))


def test_the_ranking_loss_is_the_mean_over_pairs_of_each_class() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 1, 1, 0, 1])  # no image of class 2
    means = []
    for label in (0, 1):
        pairs = [
            math.log1p(math.exp(float(scores[other, label] - scores[own, label])))
            for own in range(7)
            for other in range(7)
            if labels[own] == label != labels[other]
        ]
        means.append(sum(pairs) / len(pairs))
    assert float(ranking_loss(scores, labels)) == pytest.approx(sum(means) / 2, abs=1e-12)


def test_ranking_keeps_a_module_from_being_a_mere_bar_for_the_others() -> None:
    # Scores 0 and 1 tell their classes; column 2 is a constant in between: all are right.
    labels = torch.tensor([0, 1, 2] * 4)
    scores = 4 * F.one_hot(labels, 3).double()
    scores[:, 2] = 2.0
    assert bool((scores.argmax(dim=1) == labels).all())
    telling = 4 * F.one_hot(labels, 3).double()
    assert float(ranking_loss(scores, labels)) > 5 * float(ranking_loss(telling, labels))
