"""Patched models of more and more modules, in a real registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from benchmarks.growth.loading import loaded
from benchmarks.growth.patched import register_models
from benchmarks.growth.settings import GrowthSettings
from registry.registry import Registry
from serving.engine.packing import pack
from serving.residency.parts import network_bytes

SIZES = (1, 3, 4)


def stored_bundles(home: Path) -> dict[str, Path]:
    """Folders in the store by what they hold: ``weak``, a module's class, ``patched-2``."""
    found: dict[str, Path] = {}
    for file in (home / "artifacts").rglob("bundle.json"):
        manifest: Any = json.loads(file.read_text())
        name = manifest.get("class_name", manifest["kind"])
        if manifest["kind"] == "patched":
            name = f"patched-{len(manifest['patches'])}"
        assert name not in found
        found[name] = file.parent
    return found


def tensor_bytes(bundle: Path) -> int:
    """Of the tensors in memory: convolutions as small as these are held in two forms."""
    tensors = load_file(bundle / "weights.safetensors").values()
    return sum(one.nbytes * (2 if one.ndim == 4 else 1) for one in tensors)


def folder_bytes(bundle: Path) -> int:
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())


def test_bytes_are_those_of_the_weak_model_and_of_each_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_CACHE", str(tmp_path / "cache"))  # put back after the test
    home = tmp_path / "home"
    registry = Registry.open(home)
    uris = register_models(registry, GrowthSettings(tiny=True, modules=SIZES))
    assert tuple(uris) == SIZES
    bundles = stored_bundles(home)
    for size, uri in uris.items():
        found = loaded(home, uri, batch=4, threads=1)
        parts = [bundles["weak"], *(bundles[f"class {n}"] for n in range(size))]
        assert found["weight_bytes"] == sum(map(tensor_bytes, parts))
        own = bundles[f"patched-{size}"]
        assert found["disk_bytes"] == sum(map(folder_bytes, [own, *parts]))
        assert found["process_bytes"] >= 0
        assert 0 < found["read_seconds"] < found["load_seconds"]
        assert found["first_load_seconds"] > 0
        model = registry.load_patched(uri)
        assert len(model.patches) == size
        for branch in model.branches:
            assert pack(branch)
        assert network_bytes(model) == found["weight_bytes"]


def test_each_module_has_a_mask_of_its_own(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path / "home")
    settings = GrowthSettings(modules=SIZES, width=0.05)
    model = registry.load_patched(register_models(registry, settings)[max(SIZES)])
    masks = {tuple(one.class_module.kept.tolist()) for one in model.patches}
    assert len(masks) == max(SIZES)
    assert len(model.class_names) >= max(SIZES)
