from __future__ import annotations

from pathlib import Path

import pytest

from serving.carried import ARCHIVE_FILE, carried_archive, with_carried
from serving.settings import Settings


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Where the packages of a Bento lie that carries an archive."""
    (tmp_path / "bento.yaml").touch()
    source = tmp_path / "src"
    source.mkdir()
    (source / ARCHIVE_FILE).touch()
    return source


def test_what_a_bento_carries_is_served_where_nothing_else_is_named(source: Path) -> None:
    assert carried_archive(source) == source / ARCHIVE_FILE
    assert with_carried(Settings(threads=2), source) == Settings(
        threads=2, archive=source / ARCHIVE_FILE
    )
    for named in (Settings(model_uri="models:/a@b"), Settings(archive=Path("other"))):
        assert with_carried(named, source) == named


def test_a_bento_without_an_archive_carries_nothing(source: Path) -> None:
    (source / ARCHIVE_FILE).unlink()
    assert carried_archive(source) is None
    assert with_carried(Settings(), source) == Settings()


def test_in_a_checkout_the_file_means_nothing(source: Path) -> None:
    (source.parent / "bento.yaml").unlink()
    assert carried_archive(source) is None
    assert carried_archive() is None
