from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from registry.errors import BundleError, NotFoundError, RegistryError
from registry.history import Move, trail
from registry.registry import Registry
from registry.version import UnreadVersion
from tests.registry.conftest import make_trained

MOVE = Move(
    name="fixed",
    alias="champion",
    action="promotion",
    before=None,
    after=1,
    who="somebody",
    when=datetime(2026, 1, 1, tzinfo=UTC),
    reason="",
    forced=False,
    verdict=None,
    run_id="0",
    is_done=True,
)


def up(before: int | None, after: int) -> Move:
    return replace(MOVE, before=before, after=after)


def back(before: int, after: int) -> Move:
    return replace(MOVE, action="rollback", before=before, after=after)


@pytest.mark.parametrize(
    ("moves", "now", "expected"),
    [
        ([], None, []),
        ([], 4, [4]),
        ([up(None, 1)], 1, [1]),
        ([up(None, 1), up(1, 2), up(2, 3)], 3, [1, 2, 3]),
        ([up(None, 1), up(1, 2), up(2, 3), back(3, 2)], 2, [1, 2]),
        ([up(None, 1), up(1, 2), up(2, 3), back(3, 2), back(2, 1)], 1, [1]),
        ([up(None, 1), up(1, 2), back(2, 1), up(1, 3)], 3, [1, 3]),
        ([up(None, 1), up(1, 2), up(2, 1)], 1, [1, 2, 1]),
        ([up(None, 1), up(1, 2), up(2, 1), back(1, 2)], 2, [1, 2]),
        # moved to 5 by other hands, which a later move or where it stands now tells
        ([up(None, 1), up(5, 6)], 6, [1, 5, 6]),
        ([up(None, 1), up(1, 2)], 5, [1, 2, 5]),
        # 2 was deleted, and passed over on the way back
        ([up(None, 1), up(1, 2), up(2, 3), back(3, 1)], 1, [1]),
        # a process was killed before it moved anything
        ([up(None, 1), replace(up(1, 2), is_done=False)], 1, [1]),
        (
            [up(None, 1), up(1, 2), replace(MOVE, action="removal", before=2, after=None)],
            None,
            [1, 2],
        ),
    ],
)
def test_the_way_an_alias_went(moves: list[Move], now: int | None, expected: list[int]) -> None:
    assert trail(moves, now) == expected


@given(st.lists(st.one_of(st.integers(1, 9), st.just(0)), max_size=40))
def test_it_is_a_stack_that_steps_back_pop(steps: list[int]) -> None:
    stack: list[int] = []
    moves: list[Move] = []
    for step in steps:  # 0 is a step back, any other number a promotion
        here = stack[-1] if stack else None
        if step and step != here:
            moves.append(up(here, step))
            stack.append(step)
        elif not step and len(stack) > 1:
            stack.pop()
            assert here is not None
            moves.append(back(here, stack[-1]))
    assert trail(moves, stack[-1] if stack else None) == stack


@pytest.fixture
def versions(registry: Registry, fresh_name: str) -> list[str]:
    return [registry.add_classifier(make_trained(fresh_name, seed=seed)) for seed in range(3)]


def client_of(registry: Registry) -> MlflowClient:
    return MlflowClient(registry.tracking_uri, registry.tracking_uri)


def champion(registry: Registry, uri: str) -> str:
    return registry.find(f"{uri.rpartition('/')[0]}@champion").uri


def test_steps_back_walk_through_history(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions:
        registry.promote(uri, "champion")
    registry.promote(versions[0], "challenger")
    assert [one.uri for one in registry.rollback(fresh_name, "champion")] == versions[:0:-1]
    registry.rollback(fresh_name, "champion", reason="worse at night")
    assert champion(registry, versions[0]) == versions[0]
    with pytest.raises(RegistryError, match="knows of no version before it"):
        registry.rollback(fresh_name, "champion")
    moves = registry.history(fresh_name, "champion")
    assert [(one.action, one.before, one.after) for one in moves] == [
        ("promotion", None, 1),
        ("promotion", 1, 2),
        ("promotion", 2, 3),
        ("rollback", 3, 2),
        ("rollback", 2, 1),
    ]
    assert moves[-1].reason == "worse at night"
    assert len(registry.history(fresh_name)) == 6


def test_a_move_tells_who_when_why_and_by_which_evidence(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    before = datetime.now(UTC)
    verdict = {"passed": False, "reasons": ["class 1 gains nothing"]}
    registry.promote(versions[0], "champion", reason="a demo", forced=True, verdict=verdict)
    (move,) = registry.history(fresh_name)
    assert (move.name, move.alias, move.reason) == (fresh_name, "champion", "a demo")
    assert move.forced
    assert move.verdict == verdict
    assert move.who
    assert move.is_done
    assert before.timestamp() - 1 < move.when.timestamp() < datetime.now(UTC).timestamp() + 1


def test_an_alias_that_stands_there_already_is_no_move(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    registry.promote(versions[0], "champion")
    again = registry.promote(versions[0], "champion")
    assert again is not None
    assert again.uri == versions[0]
    assert len(registry.history(fresh_name)) == 1


def test_a_deleted_version_is_passed_over_on_the_way_back(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions:
        registry.promote(uri, "champion")
    registry.delete(versions[1])
    assert [one.uri for one in registry.rollback(fresh_name, "champion")] == [
        versions[2],
        versions[0],
    ]


def test_a_version_set_by_other_hands_can_be_left(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    registry.promote(versions[0], "champion")
    client_of(registry).set_registered_model_alias(fresh_name, "champion", "3")
    assert [one.uri for one in registry.rollback(fresh_name, "champion")] == [
        versions[2],
        versions[0],
    ]


def test_nothing_moves_to_a_version_that_does_not_load(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions[:2]:
        registry.promote(uri, "champion")
    client_of(registry).set_model_version_tag(fresh_name, "1", "patchbay.class_names", '["other"]')
    with pytest.raises(RegistryError, match="no version before it that is there and loads"):
        registry.rollback(fresh_name, "champion")
    with pytest.raises(BundleError, match="tags were changed"):
        registry.promote(versions[0], "champion")
    assert champion(registry, versions[0]) == versions[1]
    assert len(registry.history(fresh_name)) == 2


def test_a_broken_version_on_the_way_back_is_passed_over_with_a_warning(
    registry: Registry, fresh_name: str, versions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for uri in versions:
        registry.promote(uri, "champion")
    client_of(registry).set_model_version_tag(fresh_name, "2", "patchbay.metrics", "broken")
    came_from, back = registry.rollback(fresh_name, "champion")
    assert (came_from.uri, back.uri) == (versions[2], versions[0])
    assert f"passed over: {versions[1]}" in caplog.text


def test_a_version_in_use_that_can_not_be_read_is_left_all_the_same(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions[:2]:
        registry.promote(uri, "champion")
    client_of(registry).set_model_version_tag(fresh_name, "2", "patchbay.metrics", "broken")
    standing = registry.standing(fresh_name, "champion")
    assert isinstance(standing, UnreadVersion)
    assert "tags were changed" in standing.reason
    assert [one.uri for one in registry.rollback(fresh_name, "champion")] == versions[1::-1]
    assert champion(registry, versions[0]) == versions[0]
    client_of(registry).set_registered_model_alias(fresh_name, "champion", "2")
    registry.promote(versions[2], "champion")
    assert [(one.before, one.after) for one in registry.history(fresh_name)[-2:]] == [
        (2, 1),
        (2, 3),
    ]


def test_going_back_without_an_alias_is_one_clear_error(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    with pytest.raises(NotFoundError, match="has version 1, 2, 3 and no alias"):
        registry.rollback(fresh_name, "champion")
    with pytest.raises(NotFoundError):
        registry.rollback("nowhere", "champion")
    assert versions
