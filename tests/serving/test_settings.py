from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()
    assert Settings.from_environment({"PATCHBAY_THREADS": " ", "OTHER": "1"}) == Settings()


def test_every_field_is_read_from_its_variable() -> None:
    settings = Settings.from_environment(
        {
            "PATCHBAY_MODEL_URI": "models:/digits@champion",
            "PATCHBAY_HOME": "/srv/models",
            "PATCHBAY_THREADS": "2",
            "PATCHBAY_DEVICE": "cpu",
            "PATCHBAY_MAX_BODY_BYTES": "1000",
            "PATCHBAY_BODY_SECONDS": "0.5",
        }
    )
    assert settings.model_uri == "models:/digits@champion"
    assert settings.home == Path("/srv/models")
    assert (settings.threads, settings.device) == (2, "cpu")
    assert (settings.max_body_bytes, settings.body_seconds) == (1000, 0.5)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PATCHBAY_THREADS", "0"),
        ("PATCHBAY_THREADS", "many"),
        ("PATCHBAY_DEVICE", "tpu"),
        ("PATCHBAY_MAX_BODY_BYTES", "-1"),
        ("PATCHBAY_MAX_IMAGES", "1.5"),
        ("PATCHBAY_BODY_SECONDS", "nan"),
    ],
)
def test_a_value_that_can_t_be_used_is_named(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"{variable}='{value}': Input should be"):
        Settings.from_environment({variable: value})


def test_an_address_and_an_archive_at_once_are_refused() -> None:
    archive = {"PATCHBAY_ARCHIVE": "/srv/model.patchbay"}
    assert Settings.from_environment(archive).archive == Path("/srv/model.patchbay")
    with pytest.raises(SettingsError, match=r"PATCHBAY_MODEL_URI=.*PATCHBAY_ARCHIVE=.*one of them"):
        Settings.from_environment({**archive, "PATCHBAY_MODEL_URI": "models:/digits/1"})


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"THREADS.*; PATCHBAY_DEVICE|DEVICE.*; PATCHBAY_THREA"):
        Settings.from_environment({"PATCHBAY_THREADS": "x", "PATCHBAY_DEVICE": "y"})
