from __future__ import annotations

import pytest

from benchmarks.serving.subject import TOY
from benchmarks.soak.versions import Versions, register_versions
from registry.registry import Registry


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry.open(tmp_path_factory.mktemp("soak") / "home")


@pytest.fixture(scope="session")
def versions(registry: Registry) -> Versions:
    """Three versions of one name; the tests that move the alias leave it anywhere."""
    return register_versions(registry, TOY, seed=3)
