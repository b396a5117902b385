from __future__ import annotations

import threading
from typing import Any

import pytest

from serving.errors import UnknownModelError
from serving.residency.served import Residents, ServedModel
from tests.serving.samples import make_served


class Watched:
    """Models whose end is noted."""

    def __init__(self) -> None:
        self.residents = Residents()
        self.ended: list[str] = []

    def make(self, name: str = "digits", version: int = 1, **options: Any) -> ServedModel:
        served = make_served(name, version, **options)
        served.leases.callback(self.ended.append, served.identity.uri)
        return served


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_the_model_before_goes_when_nobody_uses_it(watched: Watched) -> None:
    first, second = watched.make(version=1), watched.make(version=2)
    watched.residents.activate(first)
    assert watched.residents.active is first
    watched.residents.activate(second)
    assert watched.residents.active is second
    assert watched.ended == ["models:/digits/1"]
    assert watched.residents.all() == [second]


def test_who_began_with_a_model_ends_with_it(watched: Watched) -> None:
    first, second = watched.make(version=1), watched.make(version=2)
    watched.residents.activate(first)
    with watched.residents.lease() as one, watched.residents.lease() as another:
        watched.residents.activate(second)
        assert one is another is first
        with watched.residents.lease() as newer:
            assert newer is second
        assert watched.ended == []
    assert watched.ended == ["models:/digits/1"]


def test_a_model_is_found_by_name_and_version(watched: Watched) -> None:
    active, kept, other = watched.make(version=2), watched.make(version=5), watched.make("cats", 1)
    watched.residents.activate(active)
    watched.residents.keep(kept)
    watched.residents.keep(other)
    for name, version, expected in [
        (None, None, active),
        ("digits", None, active),
        ("digits", 5, kept),
        ("cats", None, other),
        ("cats", 1, other),
    ]:
        with watched.residents.lease(name, version) as found:
            assert found is expected


@pytest.mark.parametrize(("name", "version"), [("digits", 9), ("dogs", None), ("dogs", 1)])
def test_what_is_not_in_memory_is_an_error_that_lists_what_is(
    watched: Watched, name: str, version: int | None
) -> None:
    watched.residents.activate(watched.make(version=2))
    with (
        pytest.raises(UnknownModelError, match="not in memory; there is digits/2"),
        watched.residents.lease(name, version),
    ):
        pass


def test_a_kept_model_stays_when_another_becomes_active(watched: Watched) -> None:
    first, second = watched.make(version=1), watched.make(version=2)
    watched.residents.activate(first)
    watched.residents.keep(first)
    watched.residents.activate(second)
    assert watched.residents.all() == [first, second]
    assert watched.residents.is_kept(first.key)
    assert watched.residents.drop(first.key)
    assert watched.ended == ["models:/digits/1"]
    assert not watched.residents.drop(first.key)


def test_the_active_model_is_not_dropped(watched: Watched) -> None:
    first = watched.make(version=1)
    watched.residents.activate(first)
    watched.residents.keep(first)
    assert watched.residents.drop(first.key)
    assert watched.ended == []
    assert watched.residents.all() == [first]


def test_the_same_version_loaded_anew_takes_the_place_of_the_old_one(watched: Watched) -> None:
    first, again = watched.make(version=1), watched.make(version=1)
    watched.residents.activate(first)
    watched.residents.activate(again)
    assert watched.residents.all() == [again]
    assert watched.ended == ["models:/digits/1"]


def test_a_model_that_is_kept_twice_is_held_once(watched: Watched) -> None:
    first, again = watched.make(version=1), watched.make(version=1)
    watched.residents.keep(first)
    watched.residents.keep(again)
    assert watched.residents.all() == [first]
    assert watched.ended == ["models:/digits/1"]  # the second one


def test_another_model_of_the_same_number_takes_the_place_of_the_one_before(
    watched: Watched,
) -> None:
    first, other = watched.make(version=1), watched.make(version=1)
    other.digest = "f" * 64
    watched.residents.keep(first)
    with watched.residents.lease("digits", 1):
        assert watched.residents.keep(other)
        assert watched.residents.all() == [other]
        assert watched.ended == []
    assert watched.ended == ["models:/digits/1"]
    assert first.is_retired
    assert not other.is_retired


def test_a_model_that_was_let_go_of_does_not_come_back(watched: Watched) -> None:
    first, second = watched.make(version=1), watched.make(version=2)
    watched.residents.activate(first)
    watched.residents.activate(second)
    assert not watched.residents.keep(first)
    assert watched.residents.all() == [second]
    assert not watched.residents.is_kept(first.key)


def test_at_the_end_all_go_once_they_are_not_used(watched: Watched) -> None:
    watched.residents.activate(watched.make(version=1))
    watched.residents.keep(watched.make(version=2))
    with watched.residents.lease():
        watched.residents.clear()
        assert watched.ended == ["models:/digits/2"]
    assert sorted(watched.ended) == ["models:/digits/1", "models:/digits/2"]
    assert watched.residents.active is None


def test_many_threads_may_use_and_swap_at_once(watched: Watched) -> None:
    models = [watched.make(version=n) for n in range(1, 30)]
    watched.residents.activate(models[0])
    wrong: list[str] = []
    is_over = threading.Event()

    def use() -> None:
        while not is_over.is_set():
            with watched.residents.lease() as served:
                if served.identity.uri in watched.ended:
                    wrong.append(served.identity.uri)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for model in models[1:]:
        watched.residents.activate(model)
    is_over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(watched.ended) == sorted(model.identity.uri for model in models[:-1])
