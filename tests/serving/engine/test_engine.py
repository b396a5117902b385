from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import torch

from modularizer.assembly.patched import PatchedClassifier
from serving.errors import NonFiniteScoresError
from serving.protocol import Prediction
from tests.serving.samples import CLASS_NAMES, make_engine, make_patched, random_images


def test_answers_equal_the_patched_classifier() -> None:
    images = random_images(30, 8, 8, 1)
    with torch.inference_mode():
        both = make_patched().both(torch.from_numpy(images))
    predictions = make_engine().answer(list(images))
    for prediction, scores, weak_scores in zip(
        predictions, both.scores, both.weak_scores, strict=True
    ):
        assert list(prediction.scores) == list(CLASS_NAMES)
        assert np.allclose(list(prediction.scores.values()), scores, atol=1e-5)
        assert np.allclose(list(prediction.weak_scores.values()), weak_scores, atol=1e-5)
        assert prediction.label == CLASS_NAMES[int(scores.argmax())]
        assert prediction.weak_label == CLASS_NAMES[int(weak_scores.argmax())]


def test_changed_answers_name_their_patches() -> None:
    predictions = make_engine().answer(list(random_images(60, 8, 8, 1)))
    changed = [p for p in predictions if p.label != p.weak_label]
    assert changed
    assert len(changed) < len(predictions)
    for prediction in predictions:
        assert bool(prediction.changed_by) == (prediction in changed)
        assert set(prediction.changed_by) <= {prediction.label, prediction.weak_label} & {"TC", "7"}


def test_images_of_many_sizes_are_answered_in_their_order() -> None:
    shapes = [(8, 8, 1), (20, 10, 3), (8, 8, 1), (16, 16, 3), (20, 10, 3), (1, 1, 1), (8, 8, 3)]
    images = [random_images(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    engine = make_engine()
    together = engine.answer(images)
    for image, prediction in zip(images, together, strict=True):
        [alone] = engine.answer([image])
        assert prediction.label == alone.label
        assert np.allclose(list(prediction.scores.values()), list(alone.scores.values()), atol=1e-5)


def test_the_batch_size_changes_nothing() -> None:
    images = list(random_images(9, 8, 8, 1))
    one, all_at_once = make_engine(batch_size=1), make_engine(batch_size=100)
    for a, b in zip(one.answer(images), all_at_once.answer(images), strict=True):
        assert np.allclose(list(a.scores.values()), list(b.scores.values()), atol=1e-5)


def test_large_images_are_prepared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    images = list(random_images(5, 8, 8, 1))
    expected = engine.answer(images)
    monkeypatch.setattr("serving.engine.engine._PIXELS_AT_ONCE", 128)
    sizes: list[int] = []
    prepare = PatchedClassifier.prepare

    def spy(model: PatchedClassifier, stack: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(len(stack))
        return prepare(model, stack)

    monkeypatch.setattr(PatchedClassifier, "prepare", spy)
    assert engine.answer(images) == expected
    assert sizes == [2, 2, 1]


def test_nothing_asked_is_nothing_answered() -> None:
    assert make_engine().answer([]) == []


@pytest.mark.parametrize("branch", ["weak", "class_modules"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_an_error(branch: str, value: float) -> None:
    model = make_patched()
    with torch.no_grad():
        for parameter in getattr(model, branch).parameters():
            parameter.fill_(value)
    engine = make_engine(model)
    with pytest.raises(NonFiniteScoresError, match="models:/digits/3 gives NaN or infinite"):
        engine.answer(list(random_images(2, 8, 8, 1)))
    engine.warm_up()  # which is no reason not to start


def test_submitted_items_run_in_the_engine_s_thread_and_are_timed() -> None:
    stages: list[str] = []
    threads: set[str] = set()

    def observe(stage: str, seconds: float) -> None:
        stages.append(stage)
        threads.add(threading.current_thread().name.rsplit("_", 1)[0])
        assert 0 <= seconds < 60

    engine = make_engine(observe=observe)
    images = list(random_images(3, 8, 8, 1))

    async def submit_both() -> list[list[Prediction]]:
        items = engine.prepare(images), engine.prepare(images[:1])
        return await asyncio.gather(*map(engine.submit, items))

    together = asyncio.run(submit_both())
    assert together == [engine.answer(images), engine.answer(images[:1])]
    assert stages == ["wait", "run"] * 2
    assert threads == {"patchbay-engine"}
    engine.close()


def test_the_model_is_set_to_evaluation() -> None:
    model = make_patched().train()
    assert not any(m.training for m in make_engine(model).model.modules())
