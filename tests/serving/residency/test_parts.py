from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import ExitStack
from time import sleep

import psutil  # type: ignore[import-untyped]
import pytest
import torch
from torch import nn

from serving.errors import OverBudgetError
from serving.residency.parts import PartCache, ResidentPart, network_bytes


def network(kilobytes: int = 4) -> nn.Module:
    return nn.Linear(1, 256 * kilobytes, bias=False)


class Loads:
    """Loads networks of one size, and counts."""

    def __init__(self, parts: PartCache, kilobytes: int = 4) -> None:
        self.parts = parts
        self.kilobytes = kilobytes
        self.loaded: list[str] = []

    def acquire(self, digest: str, load: Callable[[], nn.Module] | None = None) -> nn.Module:
        def default() -> nn.Module:
            self.loaded.append(digest)
            return network(self.kilobytes)

        return self.parts.acquire(
            digest, f"the {digest}", lambda: 1024 * self.kilobytes, load or default
        )

    def resident(self) -> list[str]:
        return [part.digest for part in self.parts.resident()]


@pytest.fixture
def loads() -> Loads:
    return Loads(PartCache(max_bytes=12 * 1024))


def test_what_is_resident_is_not_loaded_again(loads: Loads) -> None:
    assert loads.acquire("a") is loads.acquire("a")
    assert loads.loaded == ["a"]
    assert loads.parts.resident() == [ResidentPart("a", "the a", 4096, 2, is_pinned=False)]
    assert loads.parts.size_bytes == 4096


def test_what_was_used_longest_ago_makes_room(loads: Loads) -> None:
    for digest in ("a", "b", "c", "a"):
        loads.acquire(digest)
        loads.parts.release(digest)
    loads.acquire("d")
    assert loads.resident() == ["c", "a", "d"]


def test_what_is_in_use_stays_and_so_does_what_is_pinned(loads: Loads) -> None:
    loads.parts.pin("b")
    for digest in ("a", "b", "c"):
        loads.acquire(digest)
    loads.parts.release("b")
    loads.parts.release("c")
    loads.acquire("d")
    assert loads.resident() == ["a", "b", "d"]
    with pytest.raises(OverBudgetError, match=r"the e takes 4096 .* of the 12288 .* 12288 are in"):
        loads.acquire("e")
    assert loads.resident() == ["a", "b", "d"]
    loads.parts.unpin("b")
    loads.acquire("e")
    assert loads.resident() == ["a", "d", "e"]


def test_what_does_not_fit_is_refused_before_it_is_loaded(loads: Loads) -> None:
    def fail() -> nn.Module:
        raise AssertionError("it was loaded")

    with pytest.raises(OverBudgetError, match="nothing"):
        loads.parts.acquire("a", "the a", lambda: 12 * 1024 + 1, fail)
    assert loads.resident() == []


def test_a_load_that_fails_leaves_nothing(loads: Loads) -> None:
    def fail() -> nn.Module:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loads.acquire("a", fail)
    assert loads.resident() == []
    assert isinstance(loads.acquire("a"), nn.Module)


def test_leases_give_back_what_was_taken_also_after_an_error(loads: Loads) -> None:
    def size_bytes() -> int:
        return 4096

    def take_and_fail() -> None:
        with ExitStack() as leases:
            taking = loads.parts.taking(leases)
            for digest in ("a", "a", "b"):
                taking.take(digest, digest, size_bytes, network)
            assert [part.references for part in loads.parts.resident()] == [2, 1]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_and_fail()
    assert [part.references for part in loads.parts.resident()] == [0, 0]
    assert loads.parts.evict_unused() == 8192
    assert loads.resident() == []


def test_a_part_that_several_threads_ask_for_is_loaded_once(loads: Loads) -> None:
    def slowly() -> nn.Module:
        sleep(0.02)
        loads.loaded.append("a")
        return network()

    threads = [threading.Thread(target=loads.acquire, args=("a", slowly)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads.loaded == ["a"]
    assert [part.references for part in loads.parts.resident()] == [8]


def test_each_change_is_told() -> None:
    told: list[list[ResidentPart]] = []
    placed: list[nn.Module] = []
    parts = PartCache(place=placed.append, changed=told.append)
    found = Loads(parts).acquire("a")
    parts.release("a")
    parts.evict_unused()
    assert [[part.references for part in resident] for resident in told] == [[1], [0], []]
    assert placed == [found]


def test_what_is_told_last_is_what_is_so() -> None:
    told: list[list[ResidentPart]] = []
    is_telling, is_told = threading.Event(), threading.Event()

    def changed(resident: list[ResidentPart]) -> None:
        if threading.current_thread() is slow:
            is_telling.set()
            is_told.wait(0.2)  # as long as the other one would need to overtake
        told.append(resident)

    parts = PartCache(changed=changed)
    slow = threading.Thread(target=lambda: Loads(parts).acquire("b"))
    Loads(parts).acquire("a")
    slow.start()
    assert is_telling.wait(20)
    parts.release("a")
    is_told.set()
    slow.join()
    assert told[-1] == parts.resident()


def test_bytes_that_tensors_share_count_once() -> None:
    shared = nn.Linear(10, 10, bias=False)
    both = nn.Sequential(shared, shared, nn.BatchNorm1d(10))
    assert network_bytes(both) == 4 * (100 + 4 * 10) + 8


def test_a_hundred_loads_and_unloads_leave_memory_where_it_was() -> None:
    """Networks of 24 MB, every third of which fails after it has taken its memory."""
    parts = PartCache(max_bytes=60 * 2**20)
    process = psutil.Process()

    def load() -> nn.Module:
        return nn.ParameterList(torch.ones(1024, 1024) for _ in range(6))

    def fail() -> nn.Module:
        assert load()
        raise ZeroDivisionError

    def cycle(number: int) -> None:
        if number % 3 == 2:
            with pytest.raises(ZeroDivisionError):
                parts.acquire(str(number), "fails", lambda: 24 * 2**20, fail)
        else:
            parts.acquire(str(number), "works", lambda: 24 * 2**20, load)
            parts.release(str(number))

    gc.collect()
    gc.freeze()  # what the libraries made at their import takes a tenth of a second to look through
    try:
        for number in range(10):
            cycle(number)
        parts.evict_unused()
        before = process.memory_info().rss
        for number in range(10, 110):
            cycle(number)
        parts.evict_unused()
    finally:
        gc.unfreeze()
    assert abs(process.memory_info().rss - before) < 0.05 * before
