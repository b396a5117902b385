"""A process that is killed at any step leaves every version loadable, and nothing for good."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.checking import CheckReport
from registry.registry import Registry
from registry.steps import Step
from tests.registry.conftest import CLASS_NAMES, make_decomposition, make_trained
from tests.registry.killing import Killer, killer

MOVES = (Step.MOVE_RECORDED, Step.MOVED)
KILLED = signal.SIGKILL


@pytest.fixture(scope="module")
def forking() -> Iterator[Killer]:
    with killer() as process:
        yield process


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed-home")


@pytest.fixture(scope="module")
def registry(home: Path) -> Registry:
    return Registry.open(home)


@pytest.fixture
def strong_uri(registry: Registry, fresh_name: str) -> str:
    return registry.add_classifier(make_trained(fresh_name))


def checked(registry: Registry) -> CheckReport:
    """A check that clears, after which nothing is left to clear."""
    seen = registry.check(clear=False, load=False)
    report = registry.check(clear=True, load=False)
    assert report.leftovers == seen.leftovers
    assert registry.check(clear=True, load=False).leftovers == ()
    return report


ONCE = (Step.RUN_STARTED, Step.LINKED, Step.RUN_ENDED)
"""Steps that a decomposition takes once; the others once a class module."""
QUICK = ((Step.UPLOADED, 2), (Step.NAMED, 1), (Step.VERSIONED, 1))
"""Those that are not left to the slow tests."""


@pytest.mark.parametrize(
    ("step", "count"),
    [
        pytest.param(step, count, marks=() if (step, count) in QUICK else pytest.mark.slow)
        for step in Step
        if step not in MOVES
        for count in ((1,) if step in ONCE else (1, 2))
    ],
)
def test_killed_while_registering(
    registry: Registry, home: Path, forking: Killer, strong_uri: str, step: Step, count: int
) -> None:
    assert forking.kill_at(home, "decompose", step, count, strong_uri) == KILLED
    left = registry.used_by(strong_uri)
    assert len(left) == {Step.VERSIONED: count, Step.RUN_ENDED: 3, Step.NAMED: count - 1}.get(
        step, 0
    )
    for version in left:
        registry.load(version.uri)
    report = checked(registry)
    assert report.broken == ()
    assert bool(report.leftovers) == (step is not Step.RUN_ENDED)
    assert registry.used_by(strong_uri) == left
    record = make_decomposition(
        registry.find(strong_uri).name, registry.load_classifier(strong_uri)
    )
    again = registry.add_decomposition(record, strong_uri=strong_uri)
    assert [int(uri.rpartition("/")[2]) for uri in again] == [
        1 + any(version.class_names == (name,) for version in left) for name in CLASS_NAMES
    ]


@pytest.mark.slow
@pytest.mark.parametrize("action", ["promote", "rollback"])
@pytest.mark.parametrize("step", [Step.RUN_STARTED, *MOVES, Step.RUN_ENDED])
def test_killed_while_an_alias_moves(
    registry: Registry, home: Path, forking: Killer, fresh_name: str, action: str, step: Step
) -> None:
    first, second = (registry.add_classifier(make_trained(fresh_name, seed=n)) for n in (0, 1))
    registry.promote(first, "champion")
    target = second
    if action == "rollback":
        registry.promote(second, "champion")
        target = first
    argument = second if action == "promote" else fresh_name
    assert forking.kill_at(home, action, step, 1, argument) == KILLED
    moved = step in (Step.MOVED, Step.RUN_ENDED)
    source = first if action == "promote" else second
    assert registry.find(f"models:/{fresh_name}@champion").uri == (target if moved else source)
    assert checked(registry).broken == ()
    last = registry.history(fresh_name)[-1]
    if moved:
        assert last.action == {"promote": "promotion"}.get(action, action)
        assert f"models:/{fresh_name}/{last.after}" == target
        assert last.is_done
    else:
        assert not last.is_done or last.after == int(source.rpartition("/")[2])
        registry.promote(target, "champion")
    if action == "promote":
        assert [version.uri for version in registry.rollback(fresh_name, "champion")] == [
            second,
            first,
        ]


def test_what_a_living_process_is_at_is_left_alone(home: Path, fresh_name: str) -> None:
    found: list[tuple[Step, int]] = []

    def on_step(step: Step) -> None:
        found.append((step, len(other.check(clear=True, load=False).leftovers)))

    other = Registry.open(home)
    at_work = Registry.open(home, on_step=on_step)
    uri = at_work.add_classifier(make_trained(fresh_name))
    at_work.promote(uri, "champion")
    assert {left for _, left in found} == {0}
    assert {step for step, _ in found} == set(Step)
    other.load(uri)


def test_after_all_of_it_every_version_loads(registry: Registry) -> None:
    report = registry.check(clear=False)
    assert report.broken == ()
    assert report.leftovers == ()
    assert report.versions == len(registry.versions()) > 0
