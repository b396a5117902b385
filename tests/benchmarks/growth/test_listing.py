"""Registries that are filled to a size."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.growth.curves import Curves
from benchmarks.growth.listing import Filled, measure_listing
from benchmarks.growth.settings import GrowthSettings
from registry.registry import Registry

SETTINGS = GrowthSettings(listed=(2, 7), decomposed=3, repeats=2)


def test_a_registry_lists_exactly_what_was_asked_for(tmp_path: Path) -> None:
    curves = measure_listing(tmp_path, SETTINGS)
    for size in SETTINGS.listed:
        registry = Registry.open(tmp_path / f"home-{size}")
        assert len(registry.versions("class_module")) == size
        assert len({one.name for one in registry.versions("class_module")}) == size
        assert len(registry.versions("strong")) == -(-size // 3)
        assert len(registry.used_by("models:/strong-0/1")) == min(size, 3)
    assert {row["name"] for row in curves.rows()} == {
        *("register_one_seconds", "list_seconds", "modules_of_one_seconds", "find_seconds"),
        "list_peak_bytes",
    }
    assert all(row["lowest"] > 0 for row in curves.rows())
    repeats = {(row["name"], row["size"]): row["repeats"] for row in curves.rows()}
    assert repeats["list_seconds", 7] == 2
    # Those that ended within a fifth below 7 class modules, in any registry: at 6 and 7.
    assert repeats["register_one_seconds", 7] == 2
    assert repeats["register_one_seconds", 2] == 1


def test_a_registry_that_lacks_some_is_noticed(tmp_path: Path) -> None:
    filled = Filled(Registry.open(tmp_path / "home"), 7, SETTINGS)
    filled.decompose_one()
    with pytest.raises(RuntimeError, match=r"expected \[7, 3\] entries to be listed, found \[3, 3"):
        filled.read(Curves("listed"))
