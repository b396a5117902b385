from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from modularizer.assembly.patched import PatchedClassifier
from modularizer.preprocessing import Preprocessing
from serving.engine.answers import Answers, joined
from serving.engine.executors.executor import RunnableBranch
from serving.engine.executors.in_turn import SequentialExecutor
from serving.engine.prepared import Ask, Image, Prepared, Unprepared
from serving.errors import UnknownPatchError
from tests.serving.samples import (
    CLASS_NAMES,
    COLOUR,
    GREY,
    make_engine,
    make_patched,
    random_images,
)


def assert_same(found: Answers, expected: Answers) -> None:
    assert found.patches == expected.patches
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(found.weak_scores, expected.weak_scores, atol=1e-5)
    np.testing.assert_allclose(found.raw, expected.raw, atol=1e-5)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert (found.without is None) == (expected.without is None)
    if found.without is not None and expected.without is not None:
        np.testing.assert_array_equal(found.without, expected.without)


def answers_of(model: PatchedClassifier) -> tuple[Answers, PatchedClassifier]:
    images = list(random_images(60, 8, 8, 1))
    return make_engine(model).answer(images), model


def test_answers_equal_the_patched_classifier() -> None:
    images = random_images(30, 8, 8, 1)
    with torch.inference_mode():
        both = make_patched().both(torch.from_numpy(images))
    answers = make_engine().answer(list(images))
    assert answers.class_names == CLASS_NAMES
    assert answers.patches == ("TC", "7")
    assert answers.scores.dtype == np.float32
    np.testing.assert_allclose(answers.scores, both.scores, atol=1e-5)
    np.testing.assert_allclose(answers.weak_scores, both.weak_scores, atol=1e-5)
    assert answers.labels.tolist() == both.scores.argmax(dim=1).tolist()
    assert answers.weak_labels.tolist() == both.weak_scores.argmax(dim=1).tolist()


def test_changed_answers_name_their_patches() -> None:
    answers, model = answers_of(make_patched())
    changed = [answers.changed_by(row) for row in range(60)]
    assert 0 < sum(map(bool, changed)) < 60
    assert changed == [
        model.changed_by(weak_label=int(weak), label=int(label))
        for weak, label in zip(answers.weak_labels, answers.labels, strict=True)
    ]


@pytest.mark.parametrize("patches", [["7"], ["TC"], ["7", "TC", "7"], []])
def test_a_request_chooses_its_patches(patches: list[str]) -> None:
    images = random_images(30, 8, 8, 1)
    engine = make_engine()
    answers = engine.answer(list(images), engine.ask(patches))
    assert answers.patches == tuple(name for name in ("TC", "7") if name in patches)
    with torch.inference_mode():
        both = make_patched().both(torch.from_numpy(images))
        expected = make_patched().only(patches)(torch.from_numpy(images)) if patches else None
    np.testing.assert_allclose(answers.weak_scores, both.weak_scores, atol=1e-5)
    np.testing.assert_allclose(
        answers.scores, both.weak_scores if expected is None else expected, atol=1e-5
    )


def test_an_unknown_patch_is_an_error_with_those_there_are() -> None:
    with pytest.raises(UnknownPatchError, match="digits/3 has no patch for '6'; it has TC, 7"):
        make_engine().ask(["TC", "6"])


def test_explained_answers_say_what_they_would_be_without_each_patch() -> None:
    images = list(random_images(60, 8, 8, 1))
    engine = make_engine()
    answers = engine.answer(images, engine.ask(explain=True))
    assert answers.without is not None
    for place, others in enumerate((["7"], ["TC"])):
        expected = engine.answer(images, engine.ask(others)).labels
        np.testing.assert_array_equal(answers.without[:, place], expected)
        np.testing.assert_array_equal(answers.raw[:, place], engine.answer(images).raw[:, place])
    assert (answers.without != answers.labels[:, None]).any()
    weak = engine.answer(images, engine.ask([], explain=True))
    assert weak.without is not None
    assert weak.without.shape == (60, 0)


class CountingExecutor(SequentialExecutor):
    """Notes how many images each network got."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[list[int]] = []
        self.inputs: list[Sequence[Tensor]] = []

    def run(
        self, branches: Sequence[RunnableBranch], inputs: Sequence[Tensor], **more: object
    ) -> list[Tensor]:
        self.images.append([len(x) for x in inputs])
        self.inputs.append(inputs)
        return super().run(branches, inputs)


@pytest.mark.parametrize("unprepared", [(), (0, 1, 2, 3, 4), (1, 4), (0, 3, 4)])
def test_each_network_runs_once_on_the_images_that_need_it(unprepared: tuple[int, ...]) -> None:
    executor = CountingExecutor()
    engine = make_engine(executor=executor)
    asks = [
        engine.ask(["7"]),
        engine.ask([]),
        engine.ask(),
        engine.ask(["TC"], explain=True),
        engine.ask(["7"]),
    ]
    sizes = (3, 2, 4, 1, 5)
    images = [list(random_images(n, 9, 7 + n // 4, 3, seed=n)) for n in sizes]
    expected = [engine.answer(group, ask) for group, ask in zip(images, asks, strict=True)]
    executor.images.clear()
    found = engine.run(
        [
            Unprepared(ask, group) if place in unprepared else engine.prepare(group, ask)
            for place, (group, ask) in enumerate(zip(images, asks, strict=True))
        ]
    )
    assert executor.images == [[15, 5, 12]]  # weak, TC, 7
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_images_that_ask_the_same_are_prepared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    images = list(random_images(7, 9, 7, 3))
    expected, prepare, prepared = engine.answer(images), engine.prepare, []

    def counted(given: Sequence[Image], ask: Ask) -> Prepared:
        prepared.append(len(given))
        return prepare(given, ask)

    monkeypatch.setattr(engine, "prepare", counted)
    bounds = [(0, 1), (1, 4), (4, 6), (6, 7)]
    found = engine.run([Unprepared(engine.ask(), images).slice(*bound) for bound in bounds])
    assert prepared == [7]
    assert_same(joined(found), expected)
    assert [len(one) for one in found] == [1, 3, 2, 1]


def test_what_networks_share_is_not_copied_when_requests_are_put_together() -> None:
    executor = CountingExecutor()
    engine = make_engine(executor=executor)
    parts = [engine.prepare(list(random_images(2, 8, 8, 1)), engine.ask()) for _ in range(3)]
    assert parts[0].inputs[0] is parts[0].inputs[2]
    engine.run(parts)
    weak, colour, grey = executor.inputs[0]
    assert weak is grey
    assert weak is not colour


def test_networks_are_timed_by_their_places() -> None:
    engine = make_engine()
    timed: dict[int, float] = {}
    engine.run(
        [engine.prepare(list(random_images(2, 8, 8, 1)), engine.ask())], timed=timed.__setitem__
    )
    assert sorted(timed) == [0, 1, 2]
    assert all(0 < seconds < 60 for seconds in timed.values())


def test_images_of_many_sizes_are_answered_in_their_order() -> None:
    shapes = [(8, 8, 1), (20, 10, 3), (8, 8, 1), (16, 16, 3), (20, 10, 3), (1, 1, 1), (8, 8, 3)]
    images = [random_images(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    engine = make_engine()
    together = engine.answer(images)
    for row, image in enumerate(images):
        assert_same(together.rows(row, row + 1), engine.answer([image]))


def test_floats_from_0_to_1_are_answered_like_the_pixels_that_they_were() -> None:
    images = random_images(9, 11, 8, 3)
    floats = (images / np.float32(255)).astype(np.float32)
    engine = make_engine()
    mixed = [images[0], *floats[1:5], images[5], *floats[6:]]
    assert_same(engine.answer(mixed), engine.answer(list(images)))


def test_the_batch_size_changes_nothing() -> None:
    images = list(random_images(9, 8, 8, 1))
    engine = make_engine()
    ask = engine.ask(explain=True)
    assert_same(engine.answer(images, ask, batch_size=1), engine.answer(images, ask))
    assert_same(engine.answer(images, ask, batch_size=4), engine.answer(images, ask))


def test_large_images_are_prepared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    images = list(random_images(5, 8, 8, 1))
    expected = engine.answer(images)
    monkeypatch.setattr("serving.engine.prepared.PIXELS_AT_ONCE", 2 * 16 * 16)
    sizes: dict[Preprocessing, list[int]] = {GREY: [], COLOUR: []}
    prepare = Preprocessing.prepare

    def spy(preprocessing: Preprocessing, stack: Tensor) -> Tensor:
        sizes[preprocessing].append(len(stack))
        return prepare(preprocessing, stack)

    monkeypatch.setattr(Preprocessing, "prepare", spy)
    assert_same(engine.answer(images), expected)
    assert sizes == {GREY: [2, 2, 1], COLOUR: [2, 2, 1]}


@pytest.mark.parametrize("branch", ["weak", "class_modules"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_told_by_image(branch: str, value: float) -> None:
    model = make_patched()
    with torch.no_grad():
        for parameter in getattr(model, branch).parameters():
            parameter.fill_(value)
    engine = make_engine(model)
    assert not engine.answer(list(random_images(2, 8, 8, 1))).finite.any()
    engine.warm_up()  # which is no reason not to start
    assert make_engine().answer(list(random_images(2, 8, 8, 1))).finite.all()


def test_the_model_is_set_to_evaluation() -> None:
    model = make_patched().train()
    assert not any(m.training for m in make_engine(model).model.modules())
