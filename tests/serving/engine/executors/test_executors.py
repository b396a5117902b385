"""Every executor gives the same numbers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic, sleep

import pytest
import torch
from torch import Tensor

from serving.engine.executors.executor import Executor, RunnableBranch
from serving.engine.executors.in_turn import SequentialExecutor
from serving.engine.executors.streams import StreamExecutor
from serving.engine.executors.threads import ThreadExecutor
from tests.serving.samples import make_patched, random_images

ON_THE_CPU = [SequentialExecutor(), ThreadExecutor()]


@pytest.mark.parametrize("executor", ON_THE_CPU)
def test_branches_run_on_their_own_inputs(executor: Executor) -> None:
    model = make_patched()
    images = torch.from_numpy(random_images(5, 8, 8, 1))
    timed: dict[int, float] = {}
    with torch.inference_mode():
        inputs = model.prepare(images)
        outputs = executor.run(model.branches, inputs, timed=timed.__setitem__)
        assert torch.equal(model.combine(outputs).scores, model(images))
    assert sorted(timed) == [0, 1, 2]
    assert not any(output.requires_grad for output in outputs)


@pytest.mark.parametrize("executor", ON_THE_CPU)
def test_the_weak_model_may_run_alone(executor: Executor) -> None:
    model = make_patched()
    with torch.inference_mode():
        inputs = model.prepare(torch.from_numpy(random_images(5, 8, 8, 1)))
        [found] = executor.run(model.branches[:1], inputs[:1])
        assert torch.equal(found, model.weak.run(inputs[0]))


@pytest.mark.parametrize("executor", ON_THE_CPU)
def test_as_many_inputs_as_branches_are_needed(executor: Executor) -> None:
    with pytest.raises(ValueError, match=r"zip|expected 3 inputs, found 0"):
        executor.run(make_patched().branches, [])


class Broken:
    def run(self, prepared: Tensor) -> Tensor:
        raise ZeroDivisionError


@pytest.mark.parametrize("executor", ON_THE_CPU)
@pytest.mark.parametrize("place", [0, 1])
def test_an_error_of_a_branch_is_an_error_and_leaves_the_executor_usable(
    executor: Executor, place: int
) -> None:
    model = make_patched()
    inputs = model.prepare(torch.from_numpy(random_images(2, 8, 8, 1)))
    branches: list[RunnableBranch] = list(model.branches)
    branches[place] = Broken()
    with pytest.raises(ZeroDivisionError):
        executor.run(branches, inputs)
    assert len(executor.run(model.branches, inputs)) == 3


def test_two_threads_are_at_work_at_once() -> None:
    meet = threading.Barrier(2, timeout=120)

    class Meeting:
        def run(self, prepared: Tensor) -> Tensor:
            meet.wait()
            return prepared

    given: Sequence[Tensor] = [torch.zeros(1), torch.ones(1)]
    found = ThreadExecutor().run([Meeting(), Meeting()], given)
    assert [float(one) for one in found] == [0, 1]


def test_who_asks_waits_for_no_other_and_leaves_no_thread_behind() -> None:
    is_held, go = threading.Event(), threading.Event()
    let_go: list[bool] = []

    class Holding:
        def run(self, prepared: Tensor) -> Tensor:
            is_held.set()
            let_go.append(go.wait(120))
            return prepared

    class Plain:
        def run(self, prepared: Tensor) -> Tensor:
            return prepared

    def seconds() -> int:
        return sum(one.name.startswith("patchbay-patches") for one in threading.enumerate())

    executor = ThreadExecutor()
    given: Sequence[Tensor] = [torch.zeros(1), torch.ones(1)]
    executor.run([Plain(), Plain()], given)
    before = seconds()
    loader = threading.Thread(target=executor.run, args=([Plain(), Holding()], given))
    loader.start()
    try:
        assert is_held.wait(60)
        assert len(executor.run([Plain(), Plain()], given)) == 2
    finally:
        go.set()
        loader.join()
    assert let_go == [True]  # it was at work until then
    deadline = monotonic() + 20
    while seconds() > before:
        assert monotonic() < deadline
        sleep(0.01)


@pytest.mark.gpu
def test_streams_equal_branches_in_turn() -> None:
    model = make_patched().cuda()
    executor = StreamExecutor()
    for seed in range(20):
        images = torch.from_numpy(random_images(64, 8, 8, 1, seed=seed)).cuda()
        with torch.inference_mode():
            inputs = model.prepare(images)
            side_by_side = executor.run(model.branches, inputs)
            in_turn = SequentialExecutor("cuda").run(model.branches, inputs)
        for a, b in zip(side_by_side, in_turn, strict=True):
            assert torch.allclose(a, b, atol=1e-5)
