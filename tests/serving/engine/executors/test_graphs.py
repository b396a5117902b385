"""Networks as CUDA graphs give what they give in turn; nearly all of it needs a device."""

from __future__ import annotations

import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from serving.engine.executors.graphs import GraphExecutor, _CapturedBranch, graph_sizes
from serving.engine.executors.in_turn import SequentialExecutor
from tests.serving.samples import make_patched, random_images


@pytest.mark.parametrize(
    ("batch_size", "sizes"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 4)),
        (64, (1, 2, 4, 8, 16, 32, 64)),
        (65, (*(2**n for n in range(8)),)),
    ],
)
def test_sizes_are_powers_of_two_that_hold_the_largest_batch(
    batch_size: int, sizes: tuple[int, ...]
) -> None:
    assert graph_sizes(batch_size) == sizes


@pytest.mark.gpu
def test_graphs_equal_branches_in_turn_at_every_size() -> None:
    model = make_patched().cuda().eval()
    executor = GraphExecutor(batch_size=16)
    with torch.inference_mode():
        inputs = model.prepare(torch.from_numpy(random_images(1, 8, 8, 1)).cuda())
        executor.get_ready(model.branches, inputs)
        for images in (*range(1, 18), 5, 1, 16, 40):  # above 16 without a graph
            given = model.prepare(torch.from_numpy(random_images(images, 8, 8, 1)).cuda())
            timed: dict[int, float] = {}
            found = executor.run(model.branches, given, timed=timed.__setitem__)
            expected = SequentialExecutor("cuda").run(model.branches, given)
            for a, b in zip(found, expected, strict=True):
                assert a.shape == b.shape
                assert torch.allclose(a, b, atol=1e-5)
            assert sorted(timed) == [0, 1, 2]


@pytest.mark.gpu
def test_branches_take_different_rows_and_their_answers_stay() -> None:
    model = make_patched().cuda().eval()
    executor = GraphExecutor(batch_size=8)
    with torch.inference_mode():
        weak, *others = model.prepare(torch.from_numpy(random_images(8, 8, 8, 1)).cuda())
        executor.get_ready(model.branches, [weak, *others])
        first = executor.run(model.branches, [weak, others[0][:3], others[1][5:]])
        kept = [one.clone() for one in first]
        executor.run(model.branches, [weak.neg(), others[0].neg(), others[1].neg()])
        for a, b in zip(first, kept, strict=True):
            assert torch.equal(a, b)
        alone = model.branches[1].run(others[0][:3])
        assert torch.allclose(first[1], alone, atol=1e-5)


@pytest.mark.gpu
def test_others_answer_while_graphs_are_captured() -> None:
    model, other = make_patched().cuda().eval(), make_patched().cuda().eval()
    executor = GraphExecutor(batch_size=8)
    with torch.inference_mode():
        inputs = model.prepare(torch.from_numpy(random_images(8, 8, 8, 1)).cuda())
        executor.get_ready(model.branches, inputs)
        expected = SequentialExecutor("cuda").run(model.branches, inputs)
    stop = threading.Event()
    wrong: list[int] = []
    runs: list[int] = []

    def answer() -> None:
        with torch.inference_mode():
            while not stop.is_set():
                found = executor.run(model.branches, inputs)
                runs.append(1)
                wrong.extend(
                    1
                    for a, b in zip(found, expected, strict=True)
                    if not torch.allclose(a, b, atol=1e-5)
                )

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        executor.get_ready(other.branches, inputs)
    finally:
        stop.set()
        thread.join()
    assert runs
    assert not wrong


class Doubling:
    """In a graph's place, where there is no device: what it does takes a while."""

    def __init__(self, buffer: Tensor, output: Tensor) -> None:
        self.buffer, self.output = buffer, output

    def replay(self) -> None:
        self.output.copy_(2 * self.buffer)
        sleep(0.001)


def test_a_branch_of_two_models_runs_for_one_thread_after_the_other() -> None:
    buffer, output = torch.zeros(4), torch.zeros(4)
    graph = cast("Any", Doubling(buffer, output))
    captured = _CapturedBranch(cast("Any", None), buffer, {4: (graph, output)})

    def ask(number: int) -> bool:
        given = torch.full((4,), float(number))
        return all(torch.equal(captured.run(given), 2 * given) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))


@pytest.mark.gpu
def test_a_branch_answers_while_another_model_that_has_it_is_warmed_up() -> None:
    model = make_patched().cuda().eval()
    executor = GraphExecutor(batch_size=8)
    with torch.inference_mode():
        inputs = model.prepare(torch.from_numpy(random_images(8, 8, 8, 1)).cuda())
        executor.get_ready(model.branches, inputs)
        given = [[x.roll(number, 0) for x in inputs] for number in range(4)]
        expected = [[one.clone() for one in executor.run(model.branches, x)] for x in given]

    def ask(number: int) -> bool:
        with torch.inference_mode():
            found = [executor.run(model.branches, given[number]) for _ in range(200)]
            return all(
                torch.equal(*pair)
                for one in found
                for pair in zip(one, expected[number], strict=True)
            )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))


class ToTheHost(torch.nn.Module):
    """Can't be captured: its output depends on a value that the host has to see."""

    def run(self, prepared: Tensor) -> Tensor:
        return prepared.flatten(1).sum(dim=1) * float(prepared.sum().item() > -1e9)


class AcrossRows(torch.nn.Module):
    """Must not be padded: each row's output depends on the others."""

    def run(self, prepared: Tensor) -> Tensor:
        return prepared.flatten(1).sum(dim=1) - prepared.mean()


@pytest.mark.gpu
@pytest.mark.parametrize("branch", [ToTheHost(), AcrossRows()])
def test_what_a_graph_would_spoil_runs_without_one(
    branch: ToTheHost | AcrossRows, caplog: pytest.LogCaptureFixture
) -> None:
    executor = GraphExecutor(batch_size=4)
    x = torch.rand(3, 1, 8, 8, device="cuda")
    with caplog.at_level(logging.WARNING), torch.inference_mode():
        executor.get_ready([branch], [x])
        [found] = executor.run([branch], [x])
        assert torch.equal(found, branch.run(x))
    assert f"{type(branch).__name__} runs without CUDA graphs" in caplog.text


@pytest.mark.gpu
def test_graphs_go_with_their_branches() -> None:
    executor = GraphExecutor(batch_size=64)

    def come_and_go() -> int:
        model = make_patched().cuda().eval()
        with torch.inference_mode():
            inputs = model.prepare(torch.from_numpy(random_images(1, 8, 8, 1)).cuda())
            executor.get_ready(model.branches, inputs)
            executor.run(model.branches, inputs)
        del model, inputs
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    come_and_go()
    before = come_and_go()
    assert {come_and_go() for _ in range(5)} == {before}
