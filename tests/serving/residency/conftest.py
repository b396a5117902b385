from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.residency.homes import move
from tests.serving.samples import register_patched


@pytest.fixture(scope="session")
def two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with ``served/1`` and ``served/2``, the alias on 2, of which 1 shares no part."""
    home = tmp_path_factory.mktemp("followed")
    register_patched(home)
    register_patched(home, seed=2)
    return home


@pytest.fixture
def home(two_versions: Path) -> Iterator[Path]:
    move(two_versions, 1)
    yield two_versions
    shutil.rmtree(two_versions / "cache", ignore_errors=True)
