from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modularizer.search.budget import Selection
from modularizer.search.gates import GateKind, hard_concrete, open_gates, straight_through


def case(count: int = 2000) -> tuple[Tensor, Selection]:
    logits = torch.rand(3, count, generator=torch.Generator().manual_seed(0)) - 0.5
    bar = torch.tensor([-0.2, 0.0, 0.3])
    return logits, Selection(logits > bar[:, None], bar)


def test_straight_through_gates_are_the_mask_and_pass_the_gradient_on() -> None:
    logits, selection = case()
    gates = straight_through(logits.requires_grad_(), selection)
    assert torch.equal(gates.detach(), selection.masks.float())
    weights = torch.randn(logits.shape)
    (slope,) = torch.autograd.grad((gates * weights).sum(), logits)
    assert torch.equal(slope, weights)


def test_hard_concrete_gates_open_with_the_probability_that_its_authors_give() -> None:
    """P(gate > 0) = sigmoid(log alpha - temperature * log(-low / high)), their equation 12."""
    logits = torch.tensor([-0.5, -0.1, 0.0, 0.2]).repeat_interleave(20_000)[None]
    selection = Selection(logits > 0.1, torch.tensor([0.1]))
    gates = hard_concrete(logits, selection, torch.Generator().manual_seed(0))
    assert float(gates.min()) == 0
    assert float(gates.max()) == 1
    for part, own in zip(gates[0].view(4, -1), logits[0].view(4, -1), strict=True):
        log_alpha = 4 * (own[0].double() - 0.1)
        opens = torch.sigmoid(log_alpha - 2 / 3 * torch.log(torch.tensor(0.1 / 1.1)))
        assert float((part > 0).double().mean()) == pytest.approx(float(opens), abs=0.015)


def test_hard_concrete_gates_take_gradients_where_they_are_neither_0_nor_1() -> None:
    logits, selection = case()
    gates = hard_concrete(logits.requires_grad_(), selection, torch.Generator().manual_seed(0))
    (slope,) = torch.autograd.grad(gates.sum(), logits)
    between = (gates > 0) & (gates < 1)
    assert torch.equal(slope > 0, between)
    assert 0.2 < float(between.double().mean()) < 0.9


@pytest.mark.parametrize("kind", ["straight-through", "hard-concrete"])
def test_the_same_generator_draws_the_same_gates(kind: GateKind) -> None:
    logits, selection = case()
    first, second = (
        open_gates(kind, logits, selection, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second)
    other = open_gates(kind, logits, selection, torch.Generator().manual_seed(4))
    assert torch.equal(first, other) == (kind == "straight-through")
