from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from modularizer.architectures.simcnn import simcnn
from modularizer.errors import ModularizerError
from modularizer.memory import (
    _group_room,
    free_bytes,
    peak_bytes,
    plan_memory,
    require_memory_for_gradients,
)

CPU = torch.device("cpu")
MIB = 2**20


def network() -> nn.Module:
    return simcnn(3, stages=((8,), (4,)), hidden=(), input_size=32).eval()


def test_memory_is_divided_and_never_more_than_the_limit() -> None:
    images = torch.zeros(16, 3, 32, 32)
    plan = plan_memory(network(), images, limit=64 * MIB, workers=2)
    # the first convolution gives 8 maps of 32 x 32 to the ReLU behind it, which gives as many
    widest = 2 * 16 * 8 * 32 * 32 * 4
    assert plan.candidate >= 2 * widest
    assert plan.candidate < 3 * widest
    assert plan.workers == 2
    assert plan.prepared + plan.remembered + plan.workers * plan.candidate <= plan.limit


def test_little_memory_means_fewer_workers_and_too_little_is_refused() -> None:
    images = torch.zeros(64, 3, 32, 32)
    roomy = plan_memory(network(), images, limit=1024 * MIB, workers=8)
    assert roomy.workers == 8
    tight = plan_memory(network(), images, limit=6 * roomy.candidate, workers=8)
    assert tight.workers == 3
    with pytest.raises(ModularizerError, match=r"a candidate on 64 images .* smaller batch"):
        plan_memory(network(), images, limit=roomy.candidate, workers=8)


class Functional(nn.Module):
    """Nearly all of its activations are made by functions, not by layers."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(12))
        self.out = nn.Linear(51, 3)

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        for conv in self.convs:
            x = nn.functional.relu(torch.cat([x, conv(x)], 1))
        scores: Tensor = self.out(x.mean((2, 3)))
        return scores


def test_a_step_of_gradients_counts_what_functions_keep() -> None:
    images = torch.zeros(4, 3, 16, 16)
    inputs = sum(3 + 4 * i for i in range(12))  # of convolutions: what cat and ReLU made
    outputs = sum(7 + 4 * i for i in range(12))
    least = 4 * 16 * 16 * 4 * max(inputs, outputs) * 2  # images, pixels, bytes, maps, rows
    require_memory_for_gradients(Functional(), images, 2, 5 * least)
    with pytest.raises(ModularizerError, match="fewer images a step"):
        require_memory_for_gradients(Functional(), images, 2, least)


def test_by_default_half_of_what_is_free_is_allowed() -> None:
    plan = plan_memory(network(), torch.zeros(1, 3, 32, 32), limit=None, workers=1)
    assert 0.7 < plan.limit / (free_bytes(CPU) / 2) < 1.3


def test_a_control_group_s_limit_counts(tmp_path: Path) -> None:
    assert _group_room(tmp_path) == []
    (tmp_path / "memory.current").write_text("300\n")
    (tmp_path / "memory.stat").write_text("anon 150\ninactive_file 50\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert _group_room(tmp_path) == []
    (tmp_path / "memory.max").write_text("1000\n")
    assert _group_room(tmp_path) == [750]


def test_the_peak_is_at_least_what_is_held_and_at_most_what_there_is() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    held = pages * os.sysconf("SC_PAGE_SIZE")
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0.99 * held <= peak_bytes(CPU) <= everything  # pages are counted in batches
