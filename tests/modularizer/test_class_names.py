from __future__ import annotations

import json
from pathlib import Path

import pytest

from modularizer.class_names import OtherNames, read_other_names
from modularizer.errors import DataError

OWN = ("automobile", "cat", "dog")


def written(folder: Path, text: str) -> Path:
    file = folder / "names.json"
    file.write_text(text)
    return file


def test_each_name_stands_for_one_class_of_the_weak_model(tmp_path: Path) -> None:
    plain = {"automobile": ["car", "auto"], "dog": ["hound"], "cat": []}
    names = read_other_names(written(tmp_path, json.dumps(plain)), OWN)
    assert [names.own_name(one) for one in ("car", "auto", "hound", "dog", "automobile")] == [
        *("automobile", "automobile", "dog", "dog", "automobile")
    ]
    assert names.own_name("truck") is None
    without = read_other_names(None, OWN)
    assert (without.own_name("cat"), without.own_name("car")) == ("cat", None)


def test_another_model_s_places_prefer_the_weak_model_s_own_name() -> None:
    names = OtherNames(OWN, {"automobile": ["car", "auto"]})
    assert names.places_in(("cat", "auto", "dog", "car", "automobile")) == (4, 0, 2)
    assert names.places_in(("cat", "auto", "dog", "car")) == (1, 0, 2)
    assert names.places_in(("cat", "auto")) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"lorry": ["car"]}', "no class 'lorry'; it has automobile, cat, dog"),
        ('["car"]', "expected a table"),
        ('{"dog": "hound"}', "expected a list of names for 'dog', found \"hound\""),
        ('{"dog": [1]}', "expected a list of names"),
        ('{"dog": [""]}', "expected a list of names"),
        ('{"dog": ["hound", "hound"]}', "'hound' is given as another name of 'dog'"),
        ('{"dog": ["pet"], "cat": ["pet"]}', "is a name of 'dog' already"),
        ('{"dog": ["cat"]}', "is a name of 'cat' already"),
        ('{"dog": ["a"], "dog": ["b"]}', "twice on the left"),
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ('"' + "x" * 2**20 + '"', "at most 1048576 bytes"),
    ],
)
def test_whatever_is_no_such_table_is_refused_by_file_and_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as error:
        read_other_names(file, OWN)
    assert str(file) in str(error.value)
    assert len(str(error.value)) < 500


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.json can't be read: No such file"):
        read_other_names(tmp_path / "nowhere.json", OWN)
