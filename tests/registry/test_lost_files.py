"""Files that the store has lost: a copy in this machine's cache is no reason to rely on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import BundleError
from registry.registry import Registry
from tests.registry.conftest import make_decomposition, make_patched, make_trained


def lose(home: Path, registry: Registry, uri: str) -> None:
    """Remove a version's weights from the store; its copy in the cache stays, and loads."""
    registry.load(uri)
    folder = home / "artifacts" / "models" / registry.find(uri).model_id
    (lost,) = folder.rglob("weights.safetensors")
    lost.unlink()
    assert registry.load(uri).version.uri == uri


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    """A home in which nothing is equal to what other tests have made."""
    return tmp_path / "home"


def test_no_alias_moves_to_a_version_whose_files_are_lost(own_home: Path) -> None:
    registry = Registry.open(own_home)
    kept, lost = (registry.add_classifier(make_trained("model", seed=seed)) for seed in (0, 1))
    registry.aliases.promote(kept, "champion")
    lose(own_home, registry, lost)
    with pytest.raises(BundleError, match=rf"{lost} is refused: .* lacks 'weights\.safetensors'"):
        registry.aliases.promote(lost, "champion")
    assert registry.find("models:/model@champion").uri == kept
    assert len(registry.aliases.history("model")) == 1


def test_a_version_whose_files_are_lost_is_passed_over_on_the_way_back(
    own_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry.open(own_home)
    uris = [registry.add_classifier(make_trained("model", seed=seed)) for seed in range(3)]
    for uri in uris:
        registry.aliases.promote(uri, "champion")
    lose(own_home, registry, uris[1])
    assert registry.aliases.rollback("model", "champion")[1].uri == uris[0]
    assert f"passed over: {uris[1]} is refused" in caplog.text


def test_a_part_whose_files_are_lost_is_neither_patched_with_nor_promoted(own_home: Path) -> None:
    registry = Registry.open(own_home)
    strong = make_trained("strong")
    strong_uri = registry.add_classifier(strong)
    weak_uri = registry.add_classifier(make_trained("weak", kind="weak", seed=1))
    record = make_decomposition("strong", strong.classifier)
    first, second, _ = registry.add_decomposition(record, strong_uri=strong_uri)
    patched = registry.add_patched(make_patched("patched", weak_uri, first))
    lose(own_home, registry, first)
    with pytest.raises(BundleError, match=f"{first} is refused"):
        registry.aliases.promote(patched, "champion")
    with pytest.raises(BundleError, match=f"{first} is refused"):
        registry.add_patched(make_patched("patched", weak_uri, first, second))
    assert [one.uri for one in registry.versions("patched")] == [patched]
    assert registry.check(clear=False, load=False).leftovers == ()
