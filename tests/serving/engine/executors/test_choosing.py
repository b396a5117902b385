from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from serving.engine.executors.choosing import choose_executor, possible_executors
from serving.engine.executors.executor import RunnableBranch
from serving.engine.executors.in_turn import SequentialExecutor
from serving.engine.executors.threads import ThreadExecutor
from serving.errors import SettingsError
from tests.serving.samples import make_engine

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


class Clock:
    """Only what is told to take time does, however busy the machine is."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(SequentialExecutor):
    """Takes so long a batch."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        super().__init__()
        self.seconds, self.clock = seconds, clock

    def run(
        self, branches: Sequence[RunnableBranch], inputs: Sequence[Tensor], **more: object
    ) -> list[Tensor]:
        self.clock.now += self.seconds
        return super().run(branches, inputs)


@pytest.mark.parametrize(
    ("first", "second", "third", "chosen"),
    [(0.01, 0.002, 0.02, 1), (0.004, 0.02, 0.02, 0), (0.01, 0.008, 0.001, 2), (0.01, 0.0099, 1, 0)],
)
def test_another_than_the_first_is_chosen_where_it_is_clearly_faster(
    first: float, second: float, third: float, chosen: int
) -> None:
    clock = Clock()
    executors = [Slow(seconds, clock) for seconds in (first, second, third)]
    engine = make_engine()
    own = engine.executor
    assert choose_executor(engine, executors, clock=clock) is executors[chosen]
    assert engine.executor is own


def test_a_single_one_is_not_measured() -> None:
    clock = Clock()
    executor = Slow(1000, clock)
    assert choose_executor(make_engine(), [executor], clock=clock) is executor
    assert clock.now == 0


def test_one_is_chosen_by_the_time_that_it_really_takes() -> None:
    engine = make_engine()
    executors = [SequentialExecutor(), SequentialExecutor()]
    assert choose_executor(engine, executors) in executors


def test_two_threads_are_possible_where_there_are_two_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    in_turn, threads = possible_executors("cpu", batch_size=64)
    assert isinstance(in_turn, SequentialExecutor)
    assert isinstance(threads, ThreadExecutor)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    [alone] = possible_executors("cpu", batch_size=64)
    assert isinstance(alone, SequentialExecutor)


@NO_CUDA
def test_auto_is_the_cpu_without_a_device() -> None:
    assert possible_executors("auto", batch_size=64)[0].device == torch.device("cpu")


@NO_CUDA
def test_asking_for_cuda_without_a_device_is_an_error() -> None:
    with pytest.raises(SettingsError, match="finds no CUDA device"):
        possible_executors("cuda", batch_size=64)


@pytest.mark.parametrize("device", ["cpu", pytest.param("auto", marks=NO_CUDA)])
def test_a_gpu_s_arithmetic_on_a_cpu_is_an_error(device: str) -> None:
    with pytest.raises(SettingsError, match="PATCHBAY_PRECISION=tf32 is arithmetic of GPUs"):
        possible_executors(device, batch_size=64, precision="tf32")
