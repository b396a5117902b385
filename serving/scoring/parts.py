"""Answers as Parquet: one row an image, whatever became of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modularizer.assembly.patched import PatchedClassifier
from serving.errors import ScoringError
from serving.scoring.answering import Answers, Model
from serving.scoring.batches import Batch


@dataclass(frozen=True)
class Counts:
    """What became of some images.

    Attributes:
        images: how many.
        unreadable: those with an error instead of an answer.
        changed: those that the patches answer otherwise than the weak model; 0 without patches.
    """

    images: int = 0
    unreadable: int = 0
    changed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.images + other.images,
            self.unreadable + other.unreadable,
            self.changed + other.changed,
        )


class Columns:
    """The columns of a model's answers.

    ``image``, ``label``, ``score``; for a patched model ``weak_label``, ``weak_score`` and
    ``changed_by`` (the classes whose patches moved the answer); ``scores`` in the order of the
    model's classes; ``error``. A row has an error or an answer, and null for the other.

    Args:
        model: whose answers they are.
        metadata: what every file says of itself, beside the class names.
    """

    def __init__(self, model: Model, metadata: Mapping[str, str]) -> None:
        import pyarrow as pa

        self._model = model
        self._class_names = pa.array(model.class_names, pa.string())
        of_weak = [
            ("weak_label", pa.string()),
            ("weak_score", pa.float32()),
            ("changed_by", pa.list_(pa.string())),
        ]
        self.schema = pa.schema(
            [
                pa.field("image", pa.string(), nullable=False),
                ("label", pa.string()),
                ("score", pa.float32()),
                *(of_weak if isinstance(model, PatchedClassifier) else []),
                ("scores", pa.list_(pa.float32())),
                ("error", pa.string()),
            ],
            metadata={
                **{f"patchbay.{name}": value for name, value in metadata.items()},
                "patchbay.class_names": json.dumps(model.class_names),
            },
        )

    def rows(self, batch: Batch) -> Any:
        """A batch as a record batch of pyarrow."""
        import pyarrow as pa

        answered = np.array([error is None for error in batch.errors])
        answers = batch.answers or _none(len(self._class_names))
        labels = answers.scores.argmax(axis=1)
        columns = {
            "image": pa.array(batch.names, pa.string()),
            "label": self._names_of(labels, answered),
            "score": _spread(answers.scores.max(axis=1), answered),
            "scores": _lists(answers.scores, answered),
            "error": pa.array(batch.errors, pa.string()),
        }
        if isinstance(self._model, PatchedClassifier):
            weak = answers.weak_scores if answers.weak_scores is not None else answers.scores
            weak_labels = weak.argmax(axis=1)
            columns |= {
                "weak_label": self._names_of(weak_labels, answered),
                "weak_score": _spread(weak.max(axis=1), answered),
                "changed_by": self._changes(self._model, labels, weak_labels, answered),
            }
        return pa.RecordBatch.from_arrays(
            [columns[name] for name in self.schema.names], schema=self.schema
        )

    def file(self, batches: Sequence[Any], *, part: int) -> bytes:
        """Record batches as the bytes of a Parquet file; the same ones give the same bytes.

        Args:
            batches: as `rows` gives them.
            part: the file's number, from 0; its metadata say it.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        stream = io.BytesIO()
        metadata = {**self.schema.metadata, "patchbay.part": str(part)}
        table = pa.Table.from_batches(batches, self.schema)
        pq.write_table(table.replace_schema_metadata(metadata), stream)
        return stream.getvalue()

    def _names_of(self, labels: NDArray[np.intp], answered: NDArray[np.bool_]) -> Any:
        return self._class_names.take(_spread(labels, answered))

    @staticmethod
    def _changes(
        model: PatchedClassifier,
        labels: NDArray[np.intp],
        weak_labels: NDArray[np.intp],
        answered: NDArray[np.bool_],
    ) -> Any:
        import pyarrow as pa

        found = (
            list(model.changed_by(weak_label=weak, label=label))
            for weak, label in zip(weak_labels.tolist(), labels.tolist(), strict=True)
        )
        lists = [next(found) if has_one else None for has_one in answered]
        return pa.array(lists, pa.list_(pa.string()))


def count(path: Path) -> Counts:
    """Count what is in a file of answers.

    Raises:
        ScoringError: if it can't be read.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with _told_with_path(path), pq.ParquetFile(path) as file:
        names = [
            name for name in ("label", "weak_label", "error") if name in file.schema_arrow.names
        ]
        table = file.read(columns=names)
    changed = 0
    if "weak_label" in names:
        changed = pc.sum(pc.not_equal(table["label"], table["weak_label"])).as_py() or 0
    return Counts(len(table), len(table) - table["error"].null_count, changed)


def metadata_of(path: Path) -> tuple[int, Mapping[str, str]]:
    """How many rows a file of answers has, and what it says of itself (``patchbay.`` left out).

    Raises:
        ScoringError: if it is no whole Parquet file.
    """
    import pyarrow.parquet as pq

    with _told_with_path(path):
        found = pq.read_metadata(path)
    told = {key.decode(): value.decode() for key, value in (found.metadata or {}).items()}
    return found.num_rows, {
        key.removeprefix("patchbay."): value
        for key, value in told.items()
        if key.startswith("patchbay.")
    }


def _none(classes: int) -> Answers:
    nothing = np.empty((0, classes), np.float32)
    return Answers(nothing, nothing)


def _spread(values: NDArray[Any], answered: NDArray[np.bool_]) -> Any:
    """Values of the images that have an answer, as a column with null for the others."""
    import pyarrow as pa

    column = np.zeros(len(answered), values.dtype)
    column[answered] = values
    return pa.array(column, mask=~answered)


def _lists(values: NDArray[np.float32], answered: NDArray[np.bool_]) -> Any:
    """The same for a row of values an image."""
    import pyarrow as pa

    ends = np.cumsum(answered * values.shape[1])
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return pa.ListArray.from_arrays(offsets, values.ravel(), mask=pa.array(~answered))


@contextmanager
def _told_with_path(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ScoringError(
            f"{path} can't be read ({error}); remove it to have it made again"
        ) from error
