from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import AddressError, BundleError, MovedError, NotFoundError, RegistryError
from registry.history import Move, Stand, trail
from registry.loading import Loaded, Loader
from registry.registry import Registry
from registry.version import UnreadVersion, Version
from tests.registry.conftest import Registered, client_of, make_trained

MOVE = Move(
    name="fixed",
    alias="champion",
    action="promotion",
    before=None,
    after=Stand(1),
    who="somebody",
    when=datetime(2026, 1, 1, tzinfo=UTC),
    reason="",
    forced=False,
    verdict=None,
    number=0,
    run_id="0",
    is_done=True,
)


def stand(version: int | None) -> Stand | None:
    return None if version is None else Stand(version)


def up(before: int | None, after: int) -> Move:
    return replace(MOVE, before=stand(before), after=Stand(after))


def back(before: int, after: int) -> Move:
    return replace(MOVE, action="rollback", before=Stand(before), after=Stand(after))


def numbers(way: list[Stand]) -> list[int]:
    return [one.version for one in way]


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
            [up(None, 1), up(1, 2), replace(MOVE, action="removal", before=Stand(2), after=None)],
            None,
            [1, 2],
        ),
    ],
)
def test_the_way_an_alias_went(moves: list[Move], now: int | None, expected: list[int]) -> None:
    assert numbers(trail(moves, stand(now))) == expected


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["up", "foreign", "killed"]), st.integers(1, 9)),
            st.just(("back", 0)),
        ),
        max_size=40,
    )
)
def test_it_is_a_stack_that_steps_back_pop(steps: list[tuple[str, int]]) -> None:
    stack: list[int] = []
    moves: list[Move] = []
    here: int | None = None  # where the alias stands, by whose hands ever
    for what, version in steps:
        if what == "foreign":
            here = version
        elif what == "killed":
            moves.append(replace(up(here, version), is_done=False))
        else:
            if here is not None and stack[-1:] != [here]:
                stack.append(here)
            if what == "up" and version != here:
                moves.append(up(here, version))
                stack.append(version)
            elif what == "back" and len(stack) > 1:
                moves.append(back(stack.pop(), stack[-1]))
            here = stack[-1] if stack else None
            assert numbers(trail(moves, stand(here))) == stack
    if here is not None and stack[-1:] != [here]:
        stack.append(here)
    assert numbers(trail(moves, stand(here))) == stack


def test_two_lives_of_a_name_are_told_apart() -> None:
    first, second = Stand(1, "m-a"), Stand(1, "m-b")
    moves = [
        replace(MOVE, after=first),
        replace(MOVE, after=second),
        replace(MOVE, before=second, after=Stand(2, "m-c")),
    ]
    assert trail(moves, Stand(2, "m-c")) == [first, second, Stand(2, "m-c")]
    assert trail([*moves, replace(MOVE, before=Stand(2, "m-c"), after=Stand(1))], Stand(1)) == [
        first,
        second,
        Stand(2, "m-c"),
        Stand(1),
    ]


@pytest.fixture
def versions(registry: Registry, fresh_name: str) -> list[str]:
    return [registry.add_classifier(make_trained(fresh_name, seed=seed)) for seed in range(3)]


def versions_of(move: Move) -> tuple[int | None, int | None]:
    before, after = (one.version if one else None for one in (move.before, move.after))
    return before, after


def champion(registry: Registry, uri: str) -> str:
    return registry.find(f"{uri.rpartition('/')[0]}@champion").uri


def test_steps_back_walk_through_history(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions:
        registry.aliases.promote(uri, "champion")
    registry.aliases.promote(versions[0], "challenger")
    assert [one.uri for one in registry.aliases.rollback(fresh_name, "champion")] == versions[:0:-1]
    registry.aliases.rollback(fresh_name, "champion", reason="worse at night")
    assert champion(registry, versions[0]) == versions[0]
    with pytest.raises(RegistryError, match="knows of no version before it"):
        registry.aliases.rollback(fresh_name, "champion")
    moves = registry.aliases.history(fresh_name, "champion")
    assert [(one.number, one.action, *versions_of(one)) for one in moves] == [
        (1, "promotion", None, 1),
        (2, "promotion", 1, 2),
        (3, "promotion", 2, 3),
        (4, "rollback", 3, 2),
        (5, "rollback", 2, 1),
    ]
    assert moves[-1].reason == "worse at night"
    assert len(registry.aliases.history(fresh_name)) == 6


def test_a_move_tells_who_when_why_and_by_which_evidence(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    before = datetime.now(UTC)
    verdict = {"passed": False, "reasons": ["class 1 gains nothing"]}
    registry.aliases.promote(versions[0], "champion", reason="a demo", forced=True, verdict=verdict)
    (move,) = registry.aliases.history(fresh_name)
    assert (move.name, move.alias, move.reason) == (fresh_name, "champion", "a demo")
    assert move.forced
    assert move.verdict == verdict
    assert move.who
    assert move.is_done
    assert before.timestamp() - 1 < move.when.timestamp() < datetime.now(UTC).timestamp() + 1


def test_a_long_verdict_is_told_in_short_and_kept_whole(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    verdict = {"passed": True, "reasons": [], "basis": "images", "classes": ["x" * 100] * 100}
    registry.aliases.promote(versions[0], "champion", verdict=verdict)
    (move,) = registry.aliases.history(fresh_name)
    assert move.verdict is not None
    assert (move.verdict["passed"], move.verdict["basis"]) == (True, "images")
    assert "classes" not in move.verdict
    where = move.verdict["whole_in"]
    path = client_of(registry).download_artifacts(move.run_id, where)
    assert json.loads(Path(path).read_text()) == verdict


def test_an_alias_that_stands_there_already_is_no_move(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    registry.aliases.promote(versions[0], "champion")
    again = registry.aliases.promote(versions[0], "champion")
    assert again is not None
    assert again.uri == versions[0]
    assert len(registry.aliases.history(fresh_name)) == 1


def test_a_deleted_version_is_passed_over_on_the_way_back(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions:
        registry.aliases.promote(uri, "champion")
    registry.delete(versions[1])
    assert [one.uri for one in registry.aliases.rollback(fresh_name, "champion")] == [
        versions[2],
        versions[0],
    ]


def test_a_version_set_by_other_hands_can_be_left(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    registry.aliases.promote(versions[0], "champion")
    client_of(registry).set_registered_model_alias(fresh_name, "champion", "3")
    assert [one.uri for one in registry.aliases.rollback(fresh_name, "champion")] == [
        versions[2],
        versions[0],
    ]


def test_nothing_moves_to_a_version_that_does_not_load(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions[:2]:
        registry.aliases.promote(uri, "champion")
    client_of(registry).set_model_version_tag(fresh_name, "1", "patchbay.class_names", '["other"]')
    with pytest.raises(RegistryError, match="no version before it that is there and loads"):
        registry.aliases.rollback(fresh_name, "champion")
    with pytest.raises(BundleError, match="tags were changed"):
        registry.aliases.promote(versions[0], "champion")
    assert champion(registry, versions[0]) == versions[1]
    assert len(registry.aliases.history(fresh_name)) == 2


def test_a_broken_version_on_the_way_back_is_passed_over_with_a_warning(
    registry: Registry, fresh_name: str, versions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for uri in versions:
        registry.aliases.promote(uri, "champion")
    client_of(registry).set_model_version_tag(fresh_name, "2", "patchbay.metrics", "broken")
    came_from, back = registry.aliases.rollback(fresh_name, "champion")
    assert (came_from.uri, back.uri) == (versions[2], versions[0])
    assert f"passed over: {versions[1]}" in caplog.text


def test_a_version_in_use_that_can_not_be_read_is_left_all_the_same(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions[:2]:
        registry.aliases.promote(uri, "champion")
    client_of(registry).set_model_version_tag(fresh_name, "2", "patchbay.metrics", "broken")
    standing = registry.aliases.standing(fresh_name, "champion")
    assert isinstance(standing, UnreadVersion)
    assert "tags were changed" in standing.reason
    assert [one.uri for one in registry.aliases.rollback(fresh_name, "champion")] == versions[1::-1]
    assert champion(registry, versions[0]) == versions[0]
    client_of(registry).set_registered_model_alias(fresh_name, "champion", "2")
    registry.aliases.promote(versions[2], "champion")
    assert [versions_of(one) for one in registry.aliases.history(fresh_name)[-2:]] == [
        (2, 1),
        (2, 3),
    ]


def test_going_back_without_an_alias_is_one_clear_error(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    with pytest.raises(NotFoundError, match="has version 1, 2, 3 and no alias"):
        registry.aliases.rollback(fresh_name, "champion")
    with pytest.raises(NotFoundError):
        registry.aliases.rollback("nowhere", "champion")
    assert versions


def test_an_alias_that_others_moved_meanwhile_is_left_where_it_is(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    seen = registry.find(versions[0])
    with pytest.raises(MovedError, match="was moved to no version while"):
        registry.aliases.promote(versions[1], "champion", expected=seen)
    registry.aliases.promote(versions[0], "champion", expected=None)
    with pytest.raises(MovedError, match=f"@champion was moved to {versions[0]} while"):
        registry.aliases.promote(versions[1], "champion", expected=None)
    registry.aliases.promote(versions[1], "champion", expected=registry.find(versions[0]))
    assert len(registry.aliases.history(fresh_name)) == 2


def test_a_version_that_is_deleted_while_it_is_loaded_is_not_promoted(
    registry: Registry, fresh_name: str, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = Loader.load

    def load_slowly(loader: Loader, version: Version) -> Loaded:
        loaded = load(loader, version)
        registry.delete(version.uri)
        return loaded

    monkeypatch.setattr(Loader, "load", load_slowly)
    with pytest.raises(NotFoundError, match=f"there is no {versions[2]}"):
        registry.aliases.promote(versions[2], "champion")
    assert registry.aliases.history(fresh_name) == []


def test_no_way_leads_back_to_an_earlier_life_of_the_name(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions:
        registry.aliases.promote(uri, "champion")
    client_of(registry).delete_registered_model(fresh_name)
    again = [registry.add_classifier(make_trained(fresh_name, seed=seed)) for seed in (7, 8)]
    assert again == versions[:2]
    registry.aliases.promote(again[1], "champion")
    with pytest.raises(RegistryError, match="knows of no version before it"):
        registry.aliases.rollback(fresh_name, "champion")
    registry.aliases.promote(again[0], "champion")
    assert registry.aliases.rollback(fresh_name, "champion")[1].uri == again[1]


def test_a_clock_that_is_set_back_does_not_change_the_order_of_moves(
    registry: Registry, home: Path, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions:
        registry.aliases.promote(uri, "champion")
    third = registry.aliases.history(fresh_name)[-1].run_id
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        changed = database.execute("UPDATE runs SET start_time = 1 WHERE run_uuid = ?", [third])
        assert changed.rowcount == 1
    assert [one.number for one in registry.aliases.history(fresh_name)] == [1, 2, 3]
    assert registry.aliases.rollback(fresh_name, "champion")[1].uri == versions[1]
    assert registry.aliases.rollback(fresh_name, "champion")[1].uri == versions[0]


def test_an_alias_moves_and_tells_where_it_was(registry: Registry, fresh_name: str) -> None:
    first = registry.add_classifier(make_trained(fresh_name))
    second = registry.add_classifier(make_trained(fresh_name, seed=1))
    assert registry.aliases.promote(first, "champion") is None
    previous = registry.aliases.promote(second, "champion")
    assert previous is not None
    assert previous.uri == first
    assert registry.find(f"models:/{fresh_name}@champion").uri == second
    assert registry.find(second).aliases == ("champion",)
    assert registry.find(first).aliases == ()
    listed = {v.uri: v.aliases for v in registry.versions()}
    assert (listed[first], listed[second]) == ((), ("champion",))


def test_an_alias_can_be_set_through_another(registry: Registry, fresh_name: str) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    registry.aliases.promote(uri, "candidate")
    registry.aliases.promote(f"models:/{fresh_name}@candidate", "champion")
    assert registry.find(uri).aliases == ("candidate", "champion")


def test_a_missing_alias_is_answered_with_what_there_is(
    registry: Registry, registered: Registered
) -> None:
    with pytest.raises(NotFoundError, match=r"whole-patched has version 1 and no alias"):
        registry.find("models:/whole-patched@champion")


def test_an_alias_for_a_missing_version_changes_nothing(
    registry: Registry, fresh_name: str
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    registry.aliases.promote(uri, "champion")
    with pytest.raises(NotFoundError):
        registry.aliases.promote(f"models:/{fresh_name}/2", "champion")
    with pytest.raises(AddressError):
        registry.aliases.promote(uri, "latest")
    assert registry.find(f"models:/{fresh_name}@champion").uri == uri


@pytest.mark.parametrize("reason", ["x" * 5001, "nothing\0more", "\x1b[2J"])
def test_a_reason_that_can_not_be_kept_is_refused(
    registry: Registry, fresh_name: str, versions: list[str], reason: str
) -> None:
    with pytest.raises(RegistryError, match=r"a reason (has at most 5000|is text)"):
        registry.aliases.promote(versions[0], "champion", reason=reason)
    assert registry.aliases.history(fresh_name) == []
    registry.aliases.promote(versions[0], "champion", reason="Übergang,\n\tzwei Zeilen")


def test_another_model_at_the_address_of_the_one_that_was_judged_is_not_promoted(
    registry: Registry, fresh_name: str, versions: list[str]
) -> None:
    judged = registry.find(versions[0])
    client_of(registry).delete_registered_model(fresh_name)
    assert registry.add_classifier(make_trained(fresh_name, seed=0)) == judged.uri
    with pytest.raises(NotFoundError, match="another model has its address now"):
        registry.aliases.promote(judged, "champion")


def test_a_move_without_a_time_hides_no_other(
    registry: Registry, home: Path, fresh_name: str, versions: list[str]
) -> None:
    for uri in versions:
        registry.aliases.promote(uri, "champion")
    run_id = registry.aliases.history(fresh_name)[1].run_id
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("UPDATE runs SET start_time = ? WHERE run_uuid = ?", [10**17, run_id])
    assert [one.number for one in registry.aliases.history(fresh_name, "champion")] == [1, 2, 3]
    assert registry.aliases.rollback(fresh_name, "champion")[1].uri == versions[1]


def test_unknown_names_and_aliases_are_one_clear_error(registry: Registry) -> None:
    for ask in (registry.aliases.history, lambda name: registry.aliases.standing(name, "x")):
        with pytest.raises(NotFoundError, match="there is no model 'nope'"):
            ask("nope")
    with pytest.raises(AddressError):
        registry.aliases.history("nope", "")
