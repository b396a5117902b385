from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.errors import ScoringError
from serving.scoring.answering import Answers
from serving.scoring.batches import Batch, Slice
from serving.scoring.parts import Columns, Counts, count, metadata_of
from tests.serving.samples import CLASS_NAMES, make_patched

SCORES = np.array([[0.1, 0.5, 0.2, 0.1, 0.1], [0.0, 0.1, 0.2, 0.2, 0.9]], np.float32)
WEAK = np.array([[0.1, 0.5, 0.2, 0.1, 0.1], [0.0, 0.1, 0.7, 0.1, 0.1]], np.float32)
BATCH = Batch(Slice(0, 3), ("a", "b", "c"), (None, "it is cut", None), Answers(SCORES, WEAK))
ABOUT = {"uri": "models:/served/1"}


def written(path: Path, columns: Columns, *batches: Batch) -> pa.Table:
    path.write_bytes(columns.file([columns.rows(batch) for batch in batches], part=7))
    return pq.read_table(path)


def test_a_row_has_an_answer_or_an_error(tmp_path: Path) -> None:
    table = written(tmp_path / "p", Columns(make_patched(), ABOUT), BATCH)
    first, broken, last = table.to_pylist()
    assert [np.float32(value) for value in first.pop("scores")] == SCORES[0].tolist()
    assert first == {
        "image": "a", "label": "7", "score": 0.5, "weak_label": "7", "weak_score": 0.5,
        "changed_by": [], "error": None,
    }  # fmt: skip
    assert broken == {
        "image": "b", "label": None, "score": None, "weak_label": None, "weak_score": None,
        "changed_by": None, "scores": None, "error": "it is cut",
    }  # fmt: skip
    assert (last["label"], last["weak_label"], last["changed_by"]) == ("TC", "8", ["TC"])
    assert last["score"] == np.float32(0.9)
    assert last["weak_score"] == np.float32(0.7)


def test_a_plain_classifier_has_no_columns_of_a_weak_side(tmp_path: Path) -> None:
    batch = Batch(BATCH.where, BATCH.names, BATCH.errors, Answers(SCORES, None))
    table = written(tmp_path / "p", Columns(make_patched().weak, ABOUT), batch)
    assert table.column_names == ["image", "label", "score", "scores", "error"]
    assert table["label"].to_pylist() == ["7", None, "TC"]
    assert count(tmp_path / "p") == Counts(images=3, unreadable=1, changed=0)


def test_a_batch_without_answers_has_rows_all_the_same(tmp_path: Path) -> None:
    nothing = Batch(Slice(0, 2), ("a", "b"), ("cut", "empty"), None)
    table = written(tmp_path / "p", Columns(make_patched(), ABOUT), nothing, BATCH)
    assert table["error"].to_pylist() == ["cut", "empty", None, "it is cut", None]
    assert table["scores"].null_count == 3
    assert count(tmp_path / "p") == Counts(images=5, unreadable=3, changed=1)


def test_a_file_names_its_classes_and_its_model(tmp_path: Path) -> None:
    table = written(tmp_path / "p", Columns(make_patched(), ABOUT), BATCH)
    metadata = table.schema.metadata
    assert tuple(json.loads(metadata[b"patchbay.class_names"])) == CLASS_NAMES
    assert metadata[b"patchbay.uri"] == b"models:/served/1"
    rows, told = metadata_of(tmp_path / "p")
    assert rows == 3
    assert told["uri"] == "models:/served/1"
    assert told["part"] == "7"


def test_the_same_rows_give_the_same_bytes() -> None:
    first, second = (Columns(make_patched(), ABOUT) for _ in range(2))
    assert first.file([first.rows(BATCH)], part=0) == second.file([second.rows(BATCH)], part=0)


@pytest.mark.parametrize("raw", [b"", b"PAR1", b"no Parquet at all, but text of some length"])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "p").write_bytes(raw)
    for read in (count, metadata_of):
        with pytest.raises(ScoringError, match=r"can't be read .* remove it"):
            read(tmp_path / "p")
