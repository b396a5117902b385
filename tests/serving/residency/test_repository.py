"""Models in and out of memory, on a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.registry import Registry
from serving.engine.executors.in_turn import SequentialExecutor
from serving.errors import (
    InUseError,
    RegistryUnreachableError,
    UnknownModelError,
    UnloadableError,
)
from serving.residency.building import Builder
from serving.residency.following import Follower
from serving.residency.parts import PartCache, ResidentPart
from serving.residency.repository import Listed, Repository, Which
from serving.residency.state import ServiceState
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.samples import register_patched


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("repository")
    register_patched(home)
    register_patched(home, seed=2)
    return home


class Setting:
    def __init__(self, home: Path, parts: PartCache | None = None) -> None:
        Registry.open(home).aliases.promote("models:/served/1", "champion")
        telemetry = Telemetry()
        self.state = ServiceState(Settings(model_uri="models:/served@champion"))
        self.parts = parts or PartCache()
        builder = Builder(self.parts, (SequentialExecutor(),), home=home)
        self.follower = Follower(self.state, builder, telemetry, home=home)
        self.follower.look()
        self.repository = Repository(self.state, self.follower, builder, self.parts)

    def resident(self) -> list[str]:
        return [f"{one.name}/{one.version}" for one in self.repository.index(only_resident=True)]


@pytest.fixture
def setting(home: Path) -> Iterator[Setting]:
    made = Setting(home)
    yield made
    made.state.close()


def test_registered_resident_and_active_are_three_things(setting: Setting) -> None:
    found = setting.repository.index(only_resident=False)
    assert [(one.name, one.version, one.kind) for one in found] == [
        ("served", 1, "patched"),
        ("served", 2, "patched"),
        ("strong.TC", 1, "class_module"),
        ("strong.TC", 2, "class_module"),
        ("weak", 1, "weak"),
        ("weak", 2, "weak"),
    ]
    assert [one.is_resident for one in found] == [True, False] * 3
    assert [one.is_active for one in found] == [True, False, False, False, False, False]
    assert all(
        one.resident_bytes > 1000 for one in found if one.name != "served" and one.version == 1
    )
    assert setting.resident() == ["served/1", "strong.TC/1", "weak/1"]


def test_a_version_is_loaded_beside_the_active_one_and_unloaded(setting: Setting) -> None:
    loaded = setting.repository.load(Which("served", version=2))
    assert loaded == [Listed("served", 2, "patched", is_resident=True, is_pinned=True)]
    assert setting.repository.load(Which("served", version=2)) == loaded  # again
    with setting.state.lease("served", 2) as served:
        assert served.identity.version == 2
        assert setting.repository.unload(Which("served", version=2))
        assert [part.references for part in setting.parts.resident()] == [1, 1, 1, 1]
    assert [part.references for part in setting.parts.resident()] == [1, 1, 0, 0]
    with pytest.raises(UnknownModelError), setting.state.lease("served", 2):
        pass


def test_the_active_model_and_its_parts_are_not_unloaded(setting: Setting) -> None:
    with pytest.raises(InUseError, match="served/1 is the active model; move its alias"):
        setting.repository.unload(Which("served"))
    with pytest.raises(InUseError, match="weak/1 is part of a model in memory"):
        setting.repository.unload(Which("weak", version=1))
    assert setting.resident() == ["served/1", "strong.TC/1", "weak/1"]


def test_all_other_versions_of_a_name_go_at_once(setting: Setting) -> None:
    setting.repository.load(Which("served", version=2))
    gone = setting.repository.unload(Which("served"))
    assert [one.version for one in gone] == [2]
    assert [one.identity.version for one in setting.state.residents.all()] == [1]


def test_a_part_is_at_hand_until_it_is_unloaded(setting: Setting) -> None:
    [loaded] = setting.repository.load(Which("strong.TC"), pin=True)
    assert (loaded.version, loaded.kind, loaded.is_pinned) == (2, "class_module", True)
    setting.parts.evict_unused()
    assert "strong.TC/2" in setting.resident()
    [gone] = setting.repository.unload(Which("strong.TC", version=2))
    assert not gone.is_resident
    assert "strong.TC/2" not in setting.resident()
    [loaded] = setting.repository.load(Which("weak", version=2))
    assert not loaded.is_pinned
    setting.parts.evict_unused()
    assert "weak/2" not in setting.resident()


def test_the_followed_name_goes_where_its_alias_stands_now(setting: Setting, home: Path) -> None:
    Registry.open(home).aliases.promote("models:/served/2", "champion")
    [loaded] = setting.repository.load(Which("served"))
    assert (loaded.version, loaded.is_active) == (2, True)


def test_an_alias_can_be_loaded(setting: Setting, home: Path) -> None:
    Registry.open(home).aliases.promote("models:/served/2", "challenger")
    [loaded] = setting.repository.load(Which("served", alias="challenger"))
    assert (loaded.version, loaded.is_active) == (2, False)


def test_an_alias_unloads_what_it_stands_for_and_nothing_else(setting: Setting, home: Path) -> None:
    Registry.open(home).aliases.promote("models:/served/1", "challenger")
    setting.repository.load(Which("served", version=2))
    with pytest.raises(InUseError, match="served/1 is the active model"):
        setting.repository.unload(Which("served", alias="challenger"))
    assert [one.identity.version for one in setting.state.residents.all()] == [1, 2]
    Registry.open(home).aliases.promote("models:/served/2", "challenger")
    [gone] = setting.repository.unload(Which("served", alias="challenger"))
    assert gone.version == 2
    with pytest.raises(UnknownModelError):
        setting.repository.unload(Which("served", alias="nobody"))


def test_a_number_that_was_given_anew_is_loaded_anew(setting: Setting, home: Path) -> None:
    """As in a registry that was put back from an older copy, or where a name was made again."""
    registered = [Registry.open(home).find(f"models:/served/{n}").digest for n in (1, 2)]
    setting.repository.load(Which("served", version=2))
    for before in setting.state.residents.all():
        before.digest = "0" * 64
    setting.repository.load(Which("served", version=2))
    setting.repository.load(Which("served", version=1))
    assert [one.digest for one in setting.state.residents.all()] == registered
    active = setting.state.residents.active
    assert active is not None
    assert active.digest == registered[0]
    assert [part.references for part in setting.parts.resident()] == [1, 1, 1, 1]


def test_a_part_that_goes_as_soon_as_it_may_was_loaded_all_the_same(home: Path) -> None:
    def evict(resident: list[ResidentPart]) -> None:
        for part in resident:
            if not part.references:
                made.parts.evict(part.digest)

    made = Setting(home, PartCache(changed=evict))
    [loaded] = made.repository.load(Which("weak", version=2))
    assert (loaded.version, loaded.is_resident) == (2, True)
    made.state.close()


def test_what_is_not_there_or_not_to_be_served_is_refused(setting: Setting) -> None:
    for which in (Which("nothing"), Which("served", version=9), Which("a b", version=1)):
        with pytest.raises(UnknownModelError):
            setting.repository.load(which)
    with pytest.raises(UnloadableError, match="is a strong model; patched models are served"):
        setting.repository.load(Which("strong", version=1))
    for which in (Which("served", version=2), Which("nothing")):
        with pytest.raises(UnknownModelError, match=r"nothing of .* is in memory"):
            setting.repository.unload(which)
    assert setting.resident() == ["served/1", "strong.TC/1", "weak/1"]


def test_what_does_not_fit_is_refused(setting: Setting) -> None:
    setting.parts.max_bytes = setting.parts.size_bytes + 10
    with pytest.raises(UnloadableError, match="PATCHBAY_MEMORY_BYTES allows"):
        setting.repository.load(Which("served", version=2))
    assert [one.identity.version for one in setting.state.residents.all()] == [1]


def test_without_the_registry_what_is_resident_is_told(setting: Setting, home: Path) -> None:
    database = home / "mlflow.db"
    good = database.read_bytes()
    database.write_bytes(b"no database" * 1000)
    try:
        with pytest.raises(RegistryUnreachableError):
            setting.repository.index(only_resident=False)
        with pytest.raises(RegistryUnreachableError):
            setting.repository.load(Which("served", version=2))
        with pytest.raises(RegistryUnreachableError, match="serving as before"):
            setting.repository.load(Which("served"))
        assert setting.resident() == ["served/1", "strong.TC/1", "weak/1"]
    finally:
        database.write_bytes(good)
