from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from modularizer.software import own_version


def test_the_version_beside_the_packages_is_this_code_s(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "patchbay"\nversion = "7.8.9"\n')
    assert own_version(tmp_path) == "7.8.9"
    assert own_version() == metadata.version("patchbay")


@pytest.mark.parametrize("text", [None, "", '[project]\nname = "other"\nversion = "7.8.9"\n'])
def test_beside_other_software_it_is_the_installed_one_s(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert own_version(tmp_path) == metadata.version("patchbay")
