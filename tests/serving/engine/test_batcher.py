from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import perf_counter, sleep
from typing import TypeVar

import numpy as np
import pytest
from torch import Tensor

from serving.engine.answers import Answers
from serving.engine.batcher import Batcher, BatchReport, Reason
from serving.engine.engine import Engine
from serving.engine.executors.executor import RunnableBranch
from serving.engine.executors.in_turn import SequentialExecutor
from serving.engine.prepared import Prepared
from serving.errors import NotReadyError
from tests.serving.samples import make_engine, random_images

T = TypeVar("T")


class Gate(SequentialExecutor):
    """Networks that wait until they are let go, and fail on images that are asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = threading.Event()
        self.is_running = threading.Event()
        self.images: list[int] = []
        self.fails_on: list[Tensor] = []

    def run(
        self, branches: Sequence[RunnableBranch], inputs: Sequence[Tensor], **more: object
    ) -> list[Tensor]:
        self.is_running.set()
        assert self.is_open.wait(120)
        self.images.append(len(inputs[0]))
        if any((row == bad[0]).all() for bad in self.fails_on for row in inputs[0]):
            raise RuntimeError("these networks broke")
        return super().run(branches, inputs)


class Setting:
    """A batcher, an engine behind a gate, and what was reported."""

    def __init__(self, **options: float) -> None:
        self.reports: list[BatchReport] = []
        self.batcher = Batcher(report=self.reports.append, **options)  # type: ignore[arg-type]
        self.gate = Gate()
        self.engine = make_engine(executor=self.gate)

    def prepared(self, images: int, seed: int = 0, engine: Engine | None = None) -> Prepared:
        chosen = engine or self.engine
        return chosen.prepare(list(random_images(images, 8, 8, 1, seed=seed)), chosen.ask())

    async def behind_the_first(self, *asked: Callable[[], Awaitable[T]]) -> list[T | BaseException]:
        """Queue these while a first request of one image is in the networks, then let go."""
        first = asyncio.ensure_future(self.batcher.submit(self.engine, self.prepared(1)))
        while not self.gate.is_running.is_set():
            await asyncio.sleep(0.001)
        tasks = [asyncio.ensure_future(one()) for one in asked]
        await asyncio.sleep(0.01)
        self.gate.is_open.set()
        await first
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def setting() -> Iterator[Setting]:
    made = Setting(max_images=8)
    yield made
    made.gate.is_open.set()
    made.batcher.close()


def expected(images: int, seed: int = 0) -> Answers:
    return make_engine().answer(list(random_images(images, 8, 8, 1, seed=seed)))


def test_what_waits_goes_through_the_networks_together(setting: Setting) -> None:
    sizes = (2, 1, 3)

    async def ask() -> list[Answers | BaseException]:
        return await setting.behind_the_first(
            *(
                lambda n=n: setting.batcher.submit(setting.engine, setting.prepared(n, seed=n))
                for n in sizes
            )
        )

    found = asyncio.run(ask())
    setting.batcher.close()  # after which every batch has been reported
    assert setting.gate.images == [1, 6]
    for size, answers in zip(sizes, found, strict=True):
        assert isinstance(answers, Answers)
        np.testing.assert_allclose(answers.scores, expected(size, seed=size).scores, atol=1e-5)
    batch = setting.reports[1]
    assert (batch.images, batch.reason) == (6, Reason.AT_ONCE)
    assert len(batch.waited_seconds) == 3
    assert all(0 < seconds < 120 for seconds in batch.waited_seconds)


def test_a_batch_is_capped_by_images_and_a_large_request_takes_turns(setting: Setting) -> None:
    async def ask() -> list[Answers | BaseException]:
        large, small = setting.prepared(20, seed=1), setting.prepared(3, seed=2)
        return await setting.behind_the_first(
            lambda: setting.batcher.submit(setting.engine, large),
            lambda: setting.batcher.submit(setting.engine, small),
        )

    large, small = asyncio.run(ask())
    setting.batcher.close()
    assert setting.gate.images == [1, 8, 8, 7]  # large; small and large; the rest of large
    assert [report.reason for report in setting.reports[1:]] == ["full", "full", "at_once"]
    assert isinstance(large, Answers)
    assert isinstance(small, Answers)
    np.testing.assert_allclose(large.scores, expected(20, seed=1).scores, atol=1e-5)
    np.testing.assert_allclose(small.scores, expected(3, seed=2).scores, atol=1e-5)


def test_a_failure_is_the_failure_of_one_request(setting: Setting) -> None:
    bad = setting.prepared(2, seed=5)
    setting.gate.fails_on = [bad.inputs[0]]

    async def ask() -> list[Answers | BaseException]:
        return await setting.behind_the_first(
            lambda: setting.batcher.submit(setting.engine, setting.prepared(1, seed=1)),
            lambda: setting.batcher.submit(setting.engine, bad),
            lambda: setting.batcher.submit(setting.engine, setting.prepared(1, seed=2)),
        )

    before, broken, after = asyncio.run(ask())
    assert isinstance(broken, RuntimeError)
    for answers, seed in ((before, 1), (after, 2)):
        assert isinstance(answers, Answers)
        np.testing.assert_allclose(answers.scores, expected(1, seed=seed).scores, atol=1e-5)


class OutOfMemory(Prepared):
    def slice(self, start: int, stop: int) -> Prepared:
        raise MemoryError


def test_a_request_whose_images_can_t_be_taken_fails_alone(setting: Setting) -> None:
    good = setting.prepared(1, seed=1)

    async def ask() -> list[Answers | BaseException]:
        return await setting.behind_the_first(
            lambda: setting.batcher.submit(setting.engine, OutOfMemory(good.ask, good.inputs)),
            lambda: setting.batcher.submit(setting.engine, good),
        )

    broken, answers = asyncio.run(asyncio.wait_for(ask(), 120))
    assert isinstance(broken, MemoryError)
    assert isinstance(answers, Answers)
    np.testing.assert_allclose(answers.scores, expected(1, seed=1).scores, atol=1e-5)


def test_a_request_that_failed_in_part_is_not_run_any_further(setting: Setting) -> None:
    bad = setting.prepared(30, seed=5)
    setting.gate.fails_on = [bad.inputs[0]]

    async def ask() -> None:
        [broken] = await setting.behind_the_first(
            lambda: setting.batcher.submit(setting.engine, bad)
        )
        assert isinstance(broken, RuntimeError)
        await setting.batcher.submit(setting.engine, setting.prepared(2))

    asyncio.run(ask())
    assert setting.gate.images == [1, 8, 2]


def test_what_nobody_waits_for_is_not_run(setting: Setting) -> None:
    async def ask() -> None:
        given = [setting.prepared(images) for images in (1, 5, 2)]
        first = asyncio.ensure_future(setting.batcher.submit(setting.engine, given[0]))
        while not setting.gate.is_running.is_set():
            await asyncio.sleep(0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await setting.batcher.submit(setting.engine, given[1])
        setting.gate.is_open.set()
        await first
        await setting.batcher.submit(setting.engine, given[2])

    asyncio.run(ask())
    assert setting.gate.images == [1, 2]


def test_each_batch_asks_one_engine(setting: Setting) -> None:
    other_gate = Gate()
    other_gate.is_open.set()
    other = make_engine(executor=other_gate)

    async def ask() -> list[Answers | BaseException]:
        return await setting.behind_the_first(
            lambda: setting.batcher.submit(setting.engine, setting.prepared(1)),
            lambda: setting.batcher.submit(other, setting.prepared(2, engine=other)),
            lambda: setting.batcher.submit(setting.engine, setting.prepared(3)),
            lambda: setting.batcher.submit(other, setting.prepared(4, engine=other)),
        )

    found = asyncio.run(ask())
    assert [len(one) for one in found if isinstance(one, Answers)] == [1, 2, 3, 4]
    assert setting.gate.images == [1, 4]
    assert other_gate.images == [6]


@pytest.mark.parametrize(("images", "reason"), [(1, Reason.WAITED), (8, Reason.FULL)])
def test_a_batch_waits_for_more_at_most_the_set_time(images: int, reason: Reason) -> None:
    seconds = 0.3 if reason is Reason.WAITED else 600
    setting = Setting(max_images=8, wait_seconds=seconds)
    setting.gate.is_open.set()

    async def ask() -> float:
        began = perf_counter()
        await setting.batcher.submit(setting.engine, setting.prepared(images))
        return perf_counter() - began

    took = asyncio.run(ask())
    setting.batcher.close()
    assert [report.reason for report in setting.reports] == [reason]
    assert took >= seconds if reason is Reason.WAITED else took < seconds


def test_a_batch_that_fills_up_while_it_waits_goes_at_once() -> None:
    setting = Setting(max_images=4, wait_seconds=600)
    setting.gate.is_open.set()

    async def ask() -> list[Answers]:
        return await asyncio.gather(
            *(setting.batcher.submit(setting.engine, setting.prepared(1)) for _ in range(4))
        )

    assert len(asyncio.run(ask())) == 4
    setting.batcher.close()
    assert [report.reason for report in setting.reports] == [Reason.FULL]


def test_what_waits_when_it_is_closed_gets_an_error_and_so_does_what_comes_later() -> None:
    setting = Setting()

    async def ask() -> None:
        first = asyncio.ensure_future(setting.batcher.submit(setting.engine, setting.prepared(1)))
        while not setting.gate.is_running.is_set():
            await asyncio.sleep(0.001)
        second = asyncio.ensure_future(setting.batcher.submit(setting.engine, setting.prepared(2)))
        await asyncio.sleep(0.01)
        closing = asyncio.get_running_loop().run_in_executor(None, setting.batcher.close)
        with pytest.raises(NotReadyError, match="stopping"):
            await second
        setting.gate.is_open.set()
        assert len(await first) == 1
        await closing
        with pytest.raises(NotReadyError, match="stopping"):
            await setting.batcher.submit(setting.engine, setting.prepared(1))

    asyncio.run(ask())


def test_a_model_that_was_asked_is_not_held_while_nobody_asks() -> None:
    batcher, engine = Batcher(), make_engine()
    networks = [weakref.ref(branch.network) for branch in engine.model.branches]
    images = list(random_images(2, 8, 8, 1))

    async def ask(asked: Engine) -> Answers:
        return await batcher.submit(asked, asked.prepare(images, asked.ask(["7"])))

    gc.disable()  # it must not take a search for cycles
    try:
        asyncio.run(ask(engine))
        del engine
        deadline = perf_counter() + 60
        while any(network() for network in networks) and perf_counter() < deadline:
            sleep(0.01)
        assert [network() for network in networks] == [None, None, None]
    finally:
        gc.enable()
        batcher.close()


def test_answers_to_many_event_loops_at_once_are_each_one_s_own() -> None:
    batcher, engine = Batcher(max_images=5), make_engine()
    wrong: list[int] = []

    def ask(seed: int) -> None:
        images = list(random_images(1 + seed % 3, 8, 8, 1, seed=seed))
        ask = engine.ask([[], ["7"], None][seed % 3])

        async def submit() -> Answers:
            return await batcher.submit(engine, engine.prepare(images, ask))

        for _ in range(5):
            found, alone = asyncio.run(submit()), engine.answer(images, ask)
            if found.patches != alone.patches or not np.allclose(
                found.scores, alone.scores, atol=1e-5
            ):
                wrong.append(seed)
            sleep(0.001)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    assert wrong == []
