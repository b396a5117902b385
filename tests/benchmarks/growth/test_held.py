"""Memory at its worst moment, of work whose memory is known."""

from __future__ import annotations

from collections.abc import Callable
from mmap import PAGESIZE, mmap

import pytest
import torch
from torch import Tensor

from benchmarks.growth.held import largest_python_bytes, largest_tensor_bytes, resident_bytes

X = torch.ones(1000)  # 4,000 bytes


def _kept() -> Tensor:
    return torch.stack([X + n for n in range(5)])


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (lambda: X + 1, 4000),
        (lambda: ((X + 1) + 1) + 1, 8000),  # each goes when the next is there
        (_kept, 40_000),
        (lambda: X.view(10, 100)[2], 0),
        (lambda: X.add_(0), 0),
        (lambda: (X + 1).view(10, 100).split(1), 4000),  # views hold what they show
    ],
)
def test_tensors_count_from_when_they_are_made_until_they_go(
    work: Callable[[], object], expected: int
) -> None:
    assert largest_tensor_bytes(work) == expected


def test_pythons_objects_count() -> None:
    found = largest_python_bytes(lambda: [bytes(bytearray(10_000)) for _ in range(50)])
    assert 500_000 < found < 600_000


def test_what_this_process_holds_grows_with_what_it_makes() -> None:
    size = 32 * 2**20
    with mmap(-1, size) as made:  # not from what the allocator still has of earlier tests
        before = resident_bytes()
        made[::PAGESIZE] = bytes([1]) * (size // PAGESIZE)
        assert resident_bytes() - before == pytest.approx(size, rel=0.1)
