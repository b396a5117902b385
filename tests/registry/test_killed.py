"""A process that is killed at any step leaves every version loadable, and nothing for good."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.checking import CheckReport
from registry.errors import NotFoundError
from registry.history import Stand
from registry.registry import Registry
from registry.steps import Step
from tests.registry.conftest import CLASS_NAMES, make_decomposition, make_patched, make_trained
from tests.registry.killing import Killer, killer

MOVES = (Step.MOVE_RECORDED, Step.MOVED)
REGISTERING = tuple(step for step in Step if step not in (*MOVES, Step.VERSION_DELETED))
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


@pytest.mark.slow
def test_killed_while_the_store_is_created(forking: Killer, tmp_path: Path) -> None:
    unfinished = 0
    for milliseconds in (1, 50, 100, 200, 400, 800):
        home = tmp_path / str(milliseconds)
        killed = forking.kill_at(home, "create", Step.RUN_STARTED, milliseconds, "nothing")
        assert killed == KILLED
        unfinished += (home / "mlflow.db.unfinished").exists()
        assert Registry.open(home).versions() == []
        assert not list(home.glob("*.unfinished*"))
    assert unfinished  # it was killed at it, not before or after


ONCE = (Step.RUN_STARTED, Step.LINKED, Step.RUN_ENDED)
"""Steps that a decomposition takes once; the others once a class module."""
QUICK = ((Step.UPLOADED, 2), (Step.NAMED, 1), (Step.VERSIONED, 1))
"""Those that are not left to the slow tests."""


@pytest.mark.parametrize(
    ("step", "count"),
    [
        pytest.param(step, count, marks=() if (step, count) in QUICK else pytest.mark.slow)
        for step in REGISTERING
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
    registry.aliases.promote(first, "champion")
    target = second
    if action == "rollback":
        registry.aliases.promote(second, "champion")
        target = first
    argument = second if action == "promote" else fresh_name
    assert forking.kill_at(home, action, step, 1, argument) == KILLED
    moved = step in (Step.MOVED, Step.RUN_ENDED)
    source = first if action == "promote" else second
    assert registry.find(f"models:/{fresh_name}@champion").uri == (target if moved else source)
    assert checked(registry).broken == ()
    last = registry.aliases.history(fresh_name)[-1]
    if moved:
        assert last.action == {"promote": "promotion"}.get(action, action)
        assert last.after == Stand.of(registry.find(target))
        assert last.is_done
    else:
        assert not last.is_done or last.after == Stand.of(registry.find(source))
        registry.aliases.promote(target, "champion")
    if action == "promote":
        assert [version.uri for version in registry.aliases.rollback(fresh_name, "champion")] == [
            second,
            first,
        ]


@pytest.mark.slow
@pytest.mark.parametrize("step", REGISTERING)
def test_killed_while_patching(
    registry: Registry, home: Path, forking: Killer, fresh_name: str, step: Step
) -> None:
    strong = make_trained(fresh_name)
    strong_uri = registry.add_classifier(strong)
    weak_uri = registry.add_classifier(make_trained(f"{fresh_name}-weak", kind="weak", seed=1))
    record = make_decomposition(fresh_name, strong.classifier)
    module_uri, *_ = registry.add_decomposition(record, strong_uri=strong_uri)
    name = f"{fresh_name}-patched"
    argument = f"{name} {weak_uri} {module_uri}"
    assert forking.kill_at(home, "patch", step, 1, argument) == KILLED
    left = registry.used_by(weak_uri)
    assert len(left) == (step in (Step.VERSIONED, Step.RUN_ENDED))
    for version in left:
        registry.load(version.uri)
    assert bool(checked(registry).leftovers) == (step is not Step.RUN_ENDED)
    assert registry.used_by(module_uri) == left
    again = registry.add_patched(make_patched(name, weak_uri, module_uri))
    assert again == f"models:/{name}/{1 + len(left)}"
    registry.load(again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "count"), [(step, count) for step in REGISTERING for count in (1, 3)]
)
def test_killed_while_importing(
    registry: Registry,
    home: Path,
    forking: Killer,
    fresh_name: str,
    tmp_path: Path,
    step: Step,
    count: int,
) -> None:
    elsewhere = Registry.open(tmp_path / "elsewhere")
    strong = make_trained(fresh_name)
    strong_uri = elsewhere.add_classifier(strong)
    weak_uri = elsewhere.add_classifier(make_trained(f"{fresh_name}-weak", kind="weak", seed=1))
    record = make_decomposition(fresh_name, strong.classifier)
    module_uri, *_ = elsewhere.add_decomposition(record, strong_uri=strong_uri)
    patched = elsewhere.add_patched(make_patched(f"{fresh_name}-patched", weak_uri, module_uri))
    archive = tmp_path / "archive"
    exported = elsewhere.exchange.export_archive(patched, archive)
    assert len(exported) == 3
    assert forking.kill_at(home, "import", step, count, str(archive)) == KILLED
    left = {one.uri for one in registry.versions() if one.name.startswith(f"{fresh_name}-")}
    left |= {one.uri for one in registry.versions() if one.name.startswith(f"{fresh_name}.")}
    assert len(left) == count - (step not in (Step.VERSIONED, Step.RUN_ENDED))
    for uri in left:
        registry.load(uri)
    assert checked(registry).leftovers  # its folder of work, at least
    imported = registry.exchange.import_archive(archive)
    assert {one.uri for one in imported if not one.is_new} == left
    assert [one.digest for one in imported] == [one.digest for one in exported]
    registry.load(patched)


DROPPED = (Step.RUN_STARTED, *MOVES, Step.RUN_ENDED)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "count"), [*((step, n) for step in DROPPED for n in (1, 2)), (Step.VERSION_DELETED, 1)]
)
def test_killed_while_deleting(
    registry: Registry, home: Path, forking: Killer, fresh_name: str, step: Step, count: int
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    model_id = registry.find(uri).model_id
    for alias in ("champion", "challenger"):
        registry.aliases.promote(uri, alias)
    assert forking.kill_at(home, "delete", step, count, uri) == KILLED
    if step is Step.VERSION_DELETED:
        assert model_id in {one.which for one in checked(registry).leftovers}
        assert not (home / "artifacts" / "models" / model_id).exists()
    else:
        dropped = count - (step not in (Step.MOVED, Step.RUN_ENDED))
        registry.load(uri)
        assert len(registry.find(uri).aliases) == 2 - dropped
        assert bool(checked(registry).leftovers) == (step is not Step.RUN_ENDED)
        removals = [one for one in registry.aliases.history(fresh_name) if one.after is None]
        assert sum(one.is_done for one in removals) == dropped
        registry.delete(uri, drop_aliases=True, reason="again")
    with pytest.raises(NotFoundError):
        registry.find(uri)


@pytest.mark.slow
@pytest.mark.parametrize("step", [Step.RUN_STARTED, Step.RUN_ENDED])
def test_killed_while_a_diagnosis_is_stored(
    registry: Registry, home: Path, forking: Killer, fresh_name: str, step: Step
) -> None:
    uri = registry.add_classifier(make_trained(fresh_name))
    assert forking.kill_at(home, "diagnose", step, 1, uri) == KILLED
    assert len(registry.diagnoses(uri)) == (step is Step.RUN_ENDED)
    assert bool(checked(registry).leftovers) == (step is not Step.RUN_ENDED)
    registry.load(uri)


def test_a_step_back_that_was_killed_or_interrupted_is_not_walked_forward_again(
    registry: Registry, home: Path, forking: Killer, fresh_name: str
) -> None:
    def on_step(step: Step) -> None:
        if step is Step.MOVED:
            raise KeyboardInterrupt

    uris = [registry.add_classifier(make_trained(fresh_name, seed=n)) for n in range(4)]
    for uri in uris:
        registry.aliases.promote(uri, "champion")
    assert forking.kill_at(home, "rollback", Step.MOVED, 1, fresh_name) == KILLED
    with pytest.raises(KeyboardInterrupt):
        Registry.open(home, on_step=on_step).aliases.rollback(fresh_name, "champion")
    assert registry.find(f"models:/{fresh_name}@champion").uri == uris[1]
    assert [move.is_done for move in registry.aliases.history(fresh_name)] == [True] * 6
    came_from, back = registry.aliases.rollback(fresh_name, "champion")
    assert (came_from.uri, back.uri) == (uris[1], uris[0])
    registry.check(clear=True, load=False)
    assert [move.is_done for move in registry.aliases.history(fresh_name)] == [True] * 7


@pytest.mark.parametrize("step", MOVES)
def test_what_became_of_a_killed_move_is_told_by_the_next_one(
    registry: Registry, home: Path, forking: Killer, fresh_name: str, step: Step
) -> None:
    first, second = (registry.add_classifier(make_trained(fresh_name, seed=n)) for n in (0, 1))
    registry.aliases.promote(first, "champion")
    assert forking.kill_at(home, "promote", step, 1, second) == KILLED
    happened = step is Step.MOVED
    # Where the alias stands in the end is the opposite of what the killed process left.
    registry.aliases.promote(first if happened else second, "champion")
    checked(registry)
    killed = registry.aliases.history(fresh_name)[1]
    assert killed.reason == "a better one"
    assert killed.is_done == happened


def test_what_a_living_process_is_at_is_left_alone(home: Path, fresh_name: str) -> None:
    found: list[tuple[Step, int]] = []

    def on_step(step: Step) -> None:
        found.append((step, len(other.check(clear=True, load=False).leftovers)))

    other = Registry.open(home)
    at_work = Registry.open(home, on_step=on_step)
    uri = at_work.add_classifier(make_trained(fresh_name))
    at_work.aliases.promote(uri, "champion")
    at_work.delete(uri, drop_aliases=True, reason="done with it")
    # From then on others may end what it began.
    assert {step for step, left in found if left} == {Step.VERSION_DELETED}
    assert {step for step, _ in found} == set(Step)


def test_after_all_of_it_every_version_loads(registry: Registry) -> None:
    report = registry.check(clear=False)
    assert report.broken == ()
    assert report.leftovers == ()
    assert report.versions == len(registry.versions()) > 0
