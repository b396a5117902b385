from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modularizer.assembly.patched import predict_both
from modularizer.classifier import predict
from modularizer.datasets.image_files import read_image_file
from serving.scoring import batches as batches_module
from serving.scoring.batches import Slice, in_threads, score_batches, slices
from serving.scoring.inputs import list_inputs
from tests.serving.samples import make_patched, random_images
from tests.serving.scoring.made import make_broken, make_files


def test_answers_are_those_that_each_image_gets_alone(tmp_path: Path) -> None:
    """Images of several sizes, grey and coloured, in one batch; the oracle runs one at a time."""
    model = make_patched()
    for side in (8, 5, 16):
        make_files(tmp_path / str(side), 4, side=side, seed=side)
    inputs = list_inputs([tmp_path])
    seen = 0
    for batch in score_batches(model, inputs, slices(0, len(inputs), 5), workers=3):
        assert batch.where.start == seen
        assert batch.answers is not None
        for row, name in enumerate(batch.names):
            alone = predict_both(model, read_image_file(Path(name))[None])
            np.testing.assert_allclose(batch.answers.scores[row], alone.scores[0], atol=1e-5)
            assert batch.answers.weak_scores is not None
            weak = batch.answers.weak_scores[row]
            np.testing.assert_allclose(weak, alone.weak_scores[0], atol=1e-5)
        seen = batch.where.stop
    assert seen == 12


def test_a_plain_classifier_answers_with_its_softmax(tmp_path: Path) -> None:
    weak = make_patched().weak
    pixels = random_images(3, 8, 8, 1)
    np.save(tmp_path / "a.npy", pixels)
    (batch,) = score_batches(weak, list_inputs([tmp_path / "a.npy"]), [Slice(0, 3)])
    logits = predict(weak, pixels).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert batch.answers is not None
    np.testing.assert_allclose(batch.answers.scores, expected, atol=1e-6)
    assert batch.answers.weak_scores is None


def test_broken_images_have_an_error_each_and_the_others_their_answers(tmp_path: Path) -> None:
    model = make_patched()
    make_files(tmp_path, 10)
    (whole,) = score_batches(model, list_inputs([tmp_path]), [Slice(0, 10)])
    make_broken(tmp_path)
    inputs = list_inputs([tmp_path], as_dataset=True)
    (batch,) = score_batches(model, inputs, [Slice(0, 15)], max_pixels=10_000)
    errors = {name: error for name, error in zip(batch.names, batch.errors, strict=True) if error}
    assert {name[6:] for name in errors} == {
        "large.png", "text.jpg", "empty.png", "cut.png", "gone.png",
    }  # fmt: skip
    for name, error in errors.items():
        assert error.startswith(name)  # the name in the data set, not where it happened to be
        assert str(tmp_path) not in error
    assert "101 x 100 pixels, more than 10000" in errors["00001-large.png"]
    assert whole.answers is not None
    assert batch.answers is not None
    np.testing.assert_allclose(batch.answers.scores, whole.answers.scores, atol=1e-5)


def test_a_batch_of_broken_images_alone_has_no_answers(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    (batch,) = score_batches(make_patched(), list_inputs([tmp_path]), [Slice(0, 1)])
    assert batch.answers is None
    assert batch.errors[0] is not None


def test_an_image_with_scores_that_are_no_numbers_has_an_error(tmp_path: Path) -> None:
    """A weight that is infinite times an input that is 0 for one image alone is NaN for it."""
    model = make_patched().weak
    model.preprocessing = model.preprocessing.model_copy(update={"mean": (0.0,)})
    first = next(model.network.parameters())
    first.data[:] = np.inf
    pixels = np.full((3, 8, 8, 1), 200, np.uint8)
    pixels[1] = 0
    np.save(tmp_path / "a.npy", pixels)
    (batch,) = score_batches(model, list_inputs([tmp_path / "a.npy"]), [Slice(0, 3)])
    assert batch.errors[1] == "the model gives NaN or infinite scores"


def test_results_come_in_order_and_no_more_is_taken_ahead_than_told() -> None:
    taken = 0
    most_at_once = at_work = 0
    lock = threading.Lock()

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield number

    def work(number: int) -> int:
        nonlocal at_work, most_at_once
        with lock:
            at_work += 1
            most_at_once = max(most_at_once, at_work)
        time.sleep(0.002 * (number % 3))
        with lock:
            at_work -= 1
        return number

    for expected, got in enumerate(in_threads(work, tasks(), 3, threading.Event())):
        assert got == expected
        assert taken <= expected + 1 + 3
    assert taken == 40
    assert most_at_once <= 3


def test_an_error_of_a_task_comes_where_its_result_would() -> None:
    results = in_threads(lambda number: 12 // number, iter([3, 2, 0, 1]), 2, threading.Event())
    assert [next(results), next(results)] == [4, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_who_stops_waits_for_an_image_not_for_a_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 300 pictures few are read before it ends."""
    Image.new("RGB", (3000, 3000)).save(tmp_path / "000.png")
    for number in range(1, 300):
        (tmp_path / f"{number:03}.png").hardlink_to(tmp_path / "000.png")
    taken: list[Path] = []

    def read(path: Path, **more: Any) -> Any:
        taken.append(path)
        return read_image_file(path, **more)

    monkeypatch.setattr(batches_module, "read_image_file", read)
    inputs = list_inputs([tmp_path])
    batches = score_batches(make_patched(), inputs, [Slice(0, 1), Slice(1, 300)])
    next(batches)
    assert isinstance(batches, Generator)
    batches.close()
    assert len(taken) < 299  # nor all of the batch that it was at


def test_an_image_beyond_the_limit_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(tmp_path / "large.png")
    raw = (tmp_path / "large.png").read_bytes()
    (tmp_path / "large.png").write_bytes(raw[:60])  # decoding it would find that it was cut
    inputs = list_inputs([tmp_path])
    for limit, said in ((2**24, "more than 16777216"), (None, "truncated")):
        (batch,) = score_batches(make_patched(), inputs, [Slice(0, 1)], max_pixels=limit)
        assert said in str(batch.errors[0])
