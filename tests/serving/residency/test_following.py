"""A follower on a real registry."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from time import sleep

import pytest
from torch import nn

from registry.registry import Registry
from serving.engine.executors.in_turn import SequentialExecutor
from serving.errors import NotReadyError, UnknownModelError
from serving.residency import following
from serving.residency.building import Builder
from serving.residency.following import Follower, Outcome
from serving.residency.parts import PartCache
from serving.residency.repository import Repository, Which
from serving.residency.state import LOADING, ServiceState
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.residency.homes import CHAMPION, move, wait_for
from tests.serving.samples import random_images


class Setting:
    """What a service has, without the service."""

    def __init__(
        self,
        home: Path,
        uri: str | None = CHAMPION,
        *,
        archive: Path | None = None,
        place: Callable[[nn.Module], object] = lambda network: None,
        **settings: float,
    ) -> None:
        self.home = home
        self.telemetry = Telemetry()
        asked = Settings(model_uri=uri, archive=archive, device="cpu", **settings)
        self.state = ServiceState(asked)
        self.parts = PartCache(
            self.state.settings.memory_bytes, place=place, changed=self.telemetry.note_parts
        )
        builder = Builder(self.parts, (SequentialExecutor(),), home=home)
        self.follower = Follower(self.state, builder, self.telemetry, home=home)
        self.builder = builder

    def repository(self) -> Repository:
        return Repository(self.state, self.follower, self.builder, self.parts)

    @property
    def serving(self) -> str:
        return self.state.require_active().identity.uri

    def value(self, sample: str, **labels: str) -> float:
        return self.telemetry.registry.get_sample_value(sample, labels) or 0

    def reloads(self, outcome: str) -> float:
        return self.value("patchbay_reloads_total", outcome=outcome)

    def reason(self) -> tuple[str, str]:
        with pytest.raises(NotReadyError) as caught:
            self.state.require_active()
        return caught.value.code, str(caught.value)


class SetLate(Event):
    """Is set in the moment in which its first wait has timed out."""

    waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        if self.waits > 1:
            return super().wait(timeout)
        self.set()
        return False


def test_what_is_asked_between_two_looks_is_asked_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follower = Setting(tmp_path, poll_seconds=60).follower
    asked: list[bool] = []

    def look(*, is_asked: bool = False) -> Outcome:
        asked.append(is_asked)
        if len(asked) == 3:
            follower.stop()
        return Outcome.UNCHANGED

    monkeypatch.setattr(follower, "look", look)
    monkeypatch.setattr(follower, "_wake", SetLate())
    follower.start().join(20)
    assert asked == [False, False, True]


def answers(setting: Setting) -> list[str]:
    engine = setting.state.require_active().engine
    found = engine.answer(list(random_images(40, 8, 8, 1)))
    return [found.class_names[label] for label in found.labels]


def test_the_model_is_where_the_alias_stands_and_goes_where_it_goes(home: Path) -> None:
    setting = Setting(home)
    assert setting.follower.look() is Outcome.SWAPPED
    assert setting.serving == "models:/served/1"
    assert setting.follower.look() is Outcome.UNCHANGED
    before = answers(setting)
    with setting.state.lease() as begun_with:
        move(home, 2)
        assert setting.follower.look() is Outcome.SWAPPED
        assert setting.serving == "models:/served/2"
        assert begun_with.identity.version == 1
        assert answers(setting) != before
    assert setting.reloads("swapped") == 2
    assert setting.value("patchbay_active_version", name="served", version="1") == 0
    assert setting.value("patchbay_active_version", name="served", version="2") == 1
    move(home, 1)
    assert setting.follower.look() is Outcome.SWAPPED
    assert answers(setting) == before


def test_parts_are_resident_and_are_given_back(home: Path) -> None:
    setting = Setting(home)
    setting.follower.look()
    assert [part.name for part in setting.parts.resident()] == [
        "models:/weak/1",
        "models:/strong.TC/1",
    ]
    assert [part.references for part in setting.parts.resident()] == [1, 1]
    move(home, 2)
    setting.follower.look()
    assert [part.references for part in setting.parts.resident()] == [0, 0, 1, 1]
    weak_bytes = setting.value("patchbay_resident_bytes", part="models:/weak/2")
    assert weak_bytes == setting.parts.resident()[2].size_bytes
    setting.state.close()
    assert [part.references for part in setting.parts.resident()] == [0, 0, 0, 0]
    setting.parts.evict_unused()
    assert setting.value("patchbay_resident_bytes", part="models:/weak/2") == 0


def test_a_version_that_can_not_be_loaded_leaves_the_old_one(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(home)
    setting.follower.look()
    move(home, 2)
    monkeypatch.setattr(following, "_FIRST_PAUSE_SECONDS", 600.0)
    monkeypatch.setattr(following, "_LONGEST_PAUSE_SECONDS", 600.0)
    weak = Registry.open(home).find("models:/weak/2")
    files = home / "artifacts" / "models" / weak.model_id / "artifacts"
    aside = home / "aside"
    shutil.rmtree(home / "cache" / "bundles" / weak.digest, ignore_errors=True)
    files.rename(aside)
    try:
        assert setting.follower.look() is Outcome.FAILED
        assert setting.serving == "models:/served/1"
        assert len(answers(setting)) == 40
        assert setting.reloads("failed") == 1
        # It is not tried again at each look, but soon, or when asked to.
        assert setting.follower.look() is Outcome.UNCHANGED
        assert setting.follower.look(is_asked=True) is Outcome.FAILED
        monkeypatch.setattr(following, "_LONGEST_PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(following, "_FIRST_PAUSE_SECONDS", 0.0)
        setting.follower.look(is_asked=True)
        assert setting.follower.look() is Outcome.FAILED
    finally:
        aside.rename(files)
    assert setting.follower.look() is Outcome.SWAPPED
    assert setting.serving == "models:/served/2"


def test_a_version_that_does_not_fit_beside_the_old_one_leaves_it(home: Path) -> None:
    small = Setting(home)
    small.follower.look()
    needed = small.parts.size_bytes
    setting = Setting(home, memory_bytes=needed + 4096)
    setting.follower.look()
    move(home, 2)
    assert setting.follower.look() is Outcome.FAILED
    assert setting.serving == "models:/served/1"
    # What was loaded before the room ran out is not used, and goes when its bytes are needed.
    assert [part.references for part in setting.parts.resident()] == [1, 1, 0]


def test_what_is_asked_for_in_vain_is_the_reason_for_having_no_model(home: Path) -> None:
    for uri, code, message in [
        ("models:/nothing@champion", "load_failed", "nothing"),
        ("models:/served/99", "load_failed", "99"),
        ("nonsense", "load_failed", "nonsense"),
        ("models:/weak/1", "not_a_patched_model", "found one of kind weak"),
        ("models:/strong/1", "not_a_patched_model", "found one of kind strong"),
    ]:
        setting = Setting(home, uri)
        assert setting.follower.look() is Outcome.FAILED
        found = setting.reason()
        assert found[0] == code
        assert message in found[1]


def test_an_alias_that_is_set_later_is_found_later(home: Path) -> None:
    setting = Setting(home, "models:/served@later")
    assert setting.follower.look() is Outcome.FAILED
    Registry.open(home).aliases.promote("models:/served/1", "later")
    assert setting.follower.look() is Outcome.SWAPPED
    # One that is taken away leaves the model that it stood for.
    Registry.open(home)._store.client.delete_registered_model_alias("served", "later")
    assert setting.follower.look() is Outcome.FAILED
    assert setting.serving == "models:/served/1"


class TestWithoutTheRegistry:
    @pytest.fixture
    def mended(self, home: Path) -> Iterator[Callable[[], object]]:
        """A home that was served from before, and whose database is broken until this is called.

        It is broken in place: the process has it open.
        """
        Setting(home).follower.look()
        database = home / "mlflow.db"
        good = database.read_bytes()
        database.write_bytes(b"no database" * 1000)
        yield lambda: database.write_bytes(good)
        database.write_bytes(good)

    def test_the_version_that_was_served_last_comes_from_the_cache(
        self, home: Path, mended: Callable[[], object], caplog: pytest.LogCaptureFixture
    ) -> None:
        setting = Setting(home)
        assert setting.follower.look() is Outcome.FROM_CACHE
        assert setting.serving == "models:/served/1"
        assert setting.state.require_active().from_cache
        assert "can't be reached" in caplog.text
        assert "serving models:/served/1 from the cache" in caplog.text
        assert setting.follower.look() is Outcome.UNREACHABLE
        assert caplog.text.count("serving as before") == 1
        setting.follower.look()
        assert caplog.text.count("serving as before") == 1  # said once
        from_cache = answers(setting)
        mended()
        assert setting.follower.look() is Outcome.UNCHANGED
        assert not setting.state.require_active().from_cache
        whole = Setting(home)
        whole.follower.look()
        assert answers(whole) == from_cache

    def test_one_that_is_gone_is_no_empty_one(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATCHBAY_CACHE", str(tmp_path / "cache"))
        copy = tmp_path / "home"
        shutil.copytree(home, copy)
        Setting(copy).follower.look()
        shutil.rmtree(copy)
        setting = Setting(copy)
        assert setting.follower.look() is Outcome.FROM_CACHE
        assert setting.follower.look() is Outcome.UNREACHABLE
        assert f"there is no registry in {copy}" in setting.follower.trouble
        assert not copy.exists()
        shutil.copytree(home, copy)
        assert setting.follower.look() is Outcome.UNCHANGED
        assert not setting.state.require_active().from_cache

    @pytest.mark.usefixtures("mended")
    def test_what_was_never_served_here_is_not_there(self, home: Path) -> None:
        setting = Setting(home, "models:/served/2")
        assert setting.follower.look() is Outcome.FAILED
        code, message = setting.reason()
        assert code == "load_failed"
        assert "can't be used" in message

    @pytest.mark.usefixtures("mended")
    def test_a_cache_that_was_changed_is_not_believed(self, home: Path) -> None:
        files = (home / "cache" / "bundles").glob("*/weights.safetensors")
        weights = max(files, key=lambda path: path.stat().st_size)
        raw = bytearray(weights.read_bytes())
        raw[-1] ^= 1
        weights.write_bytes(raw)
        setting = Setting(home)
        assert setting.follower.look() is Outcome.FAILED
        assert setting.reason()[0] == "load_failed"
        assert not any(part.references for part in setting.parts.resident())

    def test_no_error_ends_the_looking(self, home: Path, mended: Callable[[], object]) -> None:
        is_full = True

        def place(network: nn.Module) -> None:
            if is_full:
                raise RuntimeError("the device is out of memory")

        setting = Setting(home, place=place, poll_seconds=0.05)
        thread = setting.follower.start()
        for _ in range(600):
            if setting.state.code != LOADING:
                break
            sleep(0.05)
        assert setting.reason()[0] == "load_failed"
        is_full = False
        mended()
        wait_for(setting.state, 1)
        setting.follower.stop()
        thread.join(30)
        assert not thread.is_alive()


class TestAnArchive:
    @pytest.fixture
    def archive(self, home: Path, tmp_path: Path) -> Path:
        path = tmp_path / "model.patchbay"
        Registry.open(home).exchange.export_archive("models:/served/2", path)
        return path

    def test_it_is_served_as_the_registry_s_version_without_a_registry(
        self, home: Path, archive: Path, tmp_path: Path
    ) -> None:
        known = Setting(home, "models:/served/2")
        known.follower.look()
        setting = Setting(tmp_path / "nowhere", None, archive=archive)
        assert setting.follower.look() is Outcome.SWAPPED
        assert setting.serving == "models:/served/2"
        served, other = setting.state.require_active(), known.state.require_active()
        assert (served.digest, served.from_cache) == (other.digest, False)
        assert served.description == other.description
        assert answers(setting) == answers(known)
        assert setting.follower.look() is Outcome.UNCHANGED
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model.patchbay"]

    def test_what_it_holds_is_listed_and_loaded_by_name(self, archive: Path) -> None:
        setting = Setting(archive.parent / "nowhere", None, archive=archive)
        setting.follower.look()
        repository = setting.repository()
        listed = repository.index(only_resident=False)
        assert [(one.name, one.version, one.is_resident) for one in listed] == [
            ("served", 2, True),
            ("strong.TC", 2, True),
            ("weak", 2, True),
        ]
        [loaded] = repository.load(Which("served"))
        assert (loaded.version, loaded.is_active) == (2, True)
        [part] = repository.load(Which("weak", 2), pin=True)
        assert part.is_pinned
        for missing in (Which("served", 1), Which("served", alias="champion"), Which("other")):
            with pytest.raises(UnknownModelError, match=r"the archive model\.patchbay has no"):
                repository.load(missing)

    def test_one_that_comes_later_is_served_then(self, archive: Path, tmp_path: Path) -> None:
        late = tmp_path / "late.patchbay"
        setting = Setting(tmp_path / "nowhere", None, archive=late)
        assert setting.follower.look() is Outcome.FAILED
        code, message = setting.reason()
        assert code == "load_failed"
        assert f"{late} can't be read: it is not there" in message
        late.write_bytes(archive.read_bytes()[:-1])
        assert setting.follower.look() is Outcome.FAILED
        assert "is refused" in setting.reason()[1]
        late.write_bytes(archive.read_bytes())
        assert setting.follower.look() is Outcome.SWAPPED

    def test_one_without_a_patched_model_is_refused(self, home: Path, tmp_path: Path) -> None:
        Registry.open(home).exchange.export_archive("models:/weak/1", tmp_path / "weak")
        setting = Setting(home, None, archive=tmp_path / "weak")
        assert setting.follower.look() is Outcome.FAILED
        code, message = setting.reason()
        assert code == "not_a_patched_model"
        assert "found one of kind weak" in message


def test_an_error_that_nobody_thought_of_is_told_and_does_not_end_the_looking(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    setting = Setting(home)
    setting.follower.look()
    move(home, 2)
    setting.state.require_active().leases.callback(lambda: 1 / 0)  # as the old one goes
    assert setting.follower.look() is Outcome.FAILED
    assert "can't be followed: ZeroDivisionError" in caplog.text
    assert setting.follower.look() is Outcome.UNCHANGED
    assert setting.serving == "models:/served/2"


def test_the_model_of_the_start_goes_like_any_other(home: Path) -> None:
    def place(network: nn.Module) -> None:
        network.__dict__["itself"] = network  # as some kinds of networks do

    setting = Setting(home, place=place, poll_seconds=0.05)
    try:
        thread = setting.follower.start()
        wait_for(setting.state, 1)
        first = [*setting.state.require_active().engine.model.modules()]
        networks = [weakref.ref(module) for module in first]
        del first
        move(home, 2)
        wait_for(setting.state, 2)
        setting.follower.stop()
        thread.join(30)
        assert setting.parts.evict_unused() > 0
        assert {network() for network in networks} == {None}
    finally:
        gc.unfreeze()
