from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.cost.decompositions import read_decompositions
from modularizer.errors import DataError

PUBLISHED = Path(__file__).parents[3] / "benchmarks" / "results" / "paper-small" / "protocol.json"
KEPT = {"class": "cat", "kernels": 5, "parameters": 50, "multiply_adds": 500}


def test_the_published_decompositions_are_read_as_they_are() -> None:
    stored = json.loads(PUBLISHED.read_text())["decompositions"]
    found = read_decompositions(PUBLISHED)
    assert [one.suite for one in found] == ["simcnn-cifar", "rescnn-cifar"] == list(stored)
    for one, original in zip(found, stored.values(), strict=True):
        rows = {row["name"]: row for row in one.rows()}
        assert rows["strong"]["kernels"] == original["kernels"]
        for part in original["classes"]:
            assert rows[part["class"]]["multiply_adds"] == part["multiply_adds"]
            assert rows[part["class"]]["parameters"] == part["parameters"]
        adds = [part["multiply_adds"] / original["multiply_adds"] for part in original["classes"]]
        assert rows["mean module"]["multiply_adds_share"] == pytest.approx(sum(adds) / 10)
        assert rows["composed"]["multiply_adds_share"] == pytest.approx(sum(adds))
        assert set(rows["mean module"]["paper"]) == {"kernels_share", "multiply_adds_share"}


def test_a_track_of_one_s_own_has_no_row_of_the_paper_s(tmp_path: Path) -> None:
    path = tmp_path / "protocol.json"
    tiny = {"kernels": 10, "multiply_adds": 1000, "classes": [KEPT]}
    path.write_text(json.dumps({"decompositions": {"tiny": tiny}}))
    [found] = read_decompositions(path)
    assert found.suite is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Invalid JSON"),
        ("[]", "the file: Input should be an object"),
        ("{}", "decompositions: Field required"),
        ('{"decompositions": {}}', "at least 1 item"),
        (
            json.dumps({"decompositions": {"a": {"kernels": 1, "multiply_adds": 1}}}),
            r"decompositions\.a\.classes: Field required",
        ),
        (
            json.dumps(
                {"decompositions": {"a": {"kernels": 0, "multiply_adds": 1, "classes": [KEPT]}}}
            ),
            r"decompositions\.a\.kernels: Input should be greater than or equal to 1",
        ),
    ],
)
def test_a_file_of_something_else_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_decompositions(path)
