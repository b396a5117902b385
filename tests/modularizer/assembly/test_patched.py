from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from modularizer.architectures.simcnn import simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.calibrations.raw import NoCalibration
from modularizer.assembly.class_module import ClassModule
from modularizer.assembly.composed import ComposedClassifier
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.assembly.patched import Patch, PatchedClassifier
from modularizer.classifier import Classifier, predict
from modularizer.errors import PatchError
from modularizer.preprocessing import Preprocessing

SPEC = ArchitectureSpec(name="simcnn")
GREY = Preprocessing(size=(8, 8), channels=1, mean=(0.4,), std=(0.3,))
COLOUR = Preprocessing(size=(16, 16), channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
NAMES = ("6", "7", "cat", "9")


def network(outputs: int, preprocessing: Preprocessing) -> nn.Module:
    return simcnn(
        outputs,
        stages=((4,), (6,)),
        hidden=(5,),
        in_channels=preprocessing.channels,
        input_size=preprocessing.size[0],
    ).eval()


def weak() -> Classifier:
    torch.manual_seed(0)
    one = network(4, GREY)
    return Classifier(one, architecture=SPEC, preprocessing=GREY, class_names=NAMES)


def module_for(name: str, preprocessing: Preprocessing = COLOUR, seed: int = 1) -> ClassModule:
    torch.manual_seed(seed)
    return ClassModule(
        network(1, preprocessing),
        architecture=SPEC,
        kept=torch.ones(10),
        output=0,
        class_name=name,
        preprocessing=preprocessing,
    )


def patch(name: str, *, calibration: Calibration | None = None, **more: Any) -> Patch:
    return Patch(
        module_for(name, **more), calibration or MinMaxCalibration(minimum=-0.1, maximum=0.2)
    )


def pixels(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def raw(model: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    with torch.no_grad():
        scores: NDArray[np.float64] = model(torch.from_numpy(images)).double().numpy()
    return scores


@pytest.mark.parametrize("shape", [(9, 8, 8, 1), (9, 20, 11, 3), (1, 8, 8, 3)])
def test_patched_scores_are_the_weak_softmax_with_calibrated_entries(
    shape: tuple[int, ...],
) -> None:
    images = pixels(*shape)
    base = weak()
    patches = [
        patch("cat"),
        patch("6", calibration=NoCalibration(), preprocessing=GREY, seed=2),
        patch("9", calibration=MinMaxCalibration(minimum=-3, maximum=1), seed=3),
    ]
    model = PatchedClassifier(base, patches).eval()
    logits = raw(base, images)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    softmax = powers / powers.sum(axis=1, keepdims=True)
    expected = softmax.copy()
    expected[:, 2] = (raw(patches[0].class_module, images) + 0.1) / 0.3
    expected[:, 0] = raw(patches[1].class_module, images)
    expected[:, 3] = (raw(patches[2].class_module, images) + 3) / 4
    with torch.no_grad():
        both = model.both(torch.from_numpy(images))
    np.testing.assert_allclose(both.weak_scores.numpy(), softmax, atol=1e-6)
    np.testing.assert_allclose(both.scores.numpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(predict(model, images), both.scores.numpy())
    assert model.class_names == NAMES


def test_scores_of_other_classes_are_the_weak_ones_to_the_bit() -> None:
    model = PatchedClassifier(weak(), [patch("cat")]).eval()
    with torch.no_grad():
        both = model.both(torch.from_numpy(pixels(5, 8, 8, 1)))
    assert torch.equal(both.scores[:, [0, 1, 3]], both.weak_scores[:, [0, 1, 3]])
    assert not torch.equal(both.scores[:, 2], both.weak_scores[:, 2])


def test_the_order_of_patches_does_not_matter() -> None:
    one, other = patch("cat"), patch("6", seed=2)
    images = pixels(5, 8, 8, 1)
    scores = [predict(PatchedClassifier(weak(), p), images) for p in ([one, other], [other, one])]
    np.testing.assert_array_equal(scores[0], scores[1])


def test_equal_preparations_are_shared_and_others_are_not() -> None:
    model = PatchedClassifier(weak(), [patch("cat"), patch("6", preprocessing=GREY), patch("9")])
    inputs = model.prepare(torch.from_numpy(pixels(2, 8, 8, 1)))
    assert [tuple(x.shape) for x in inputs] == [
        (2, 1, 8, 8),
        (2, 3, 16, 16),
        (2, 1, 8, 8),
        (2, 3, 16, 16),
    ]
    assert inputs[0] is inputs[2]
    assert inputs[1] is inputs[3]
    assert len(model.branches) == 4


def test_patching_leaves_the_weak_model_s_weights_alone() -> None:
    base = weak()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    predict(PatchedClassifier(base, [patch("cat")]), pixels(3, 8, 8, 1))
    assert all(torch.equal(before[name], now) for name, now in base.state_dict().items())


def test_an_unknown_class_is_refused_with_the_classes_there_are() -> None:
    with pytest.raises(PatchError, match="no class 'dog' to patch; it has 6, 7, cat, 9"):
        PatchedClassifier(weak(), [patch("cat"), patch("dog")])


def test_a_class_is_patched_once_at_most() -> None:
    with pytest.raises(PatchError, match="one patch at most; found cat, cat"):
        PatchedClassifier(weak(), [patch("cat"), patch("cat", seed=2)])


def test_no_patch_at_all_is_refused() -> None:
    with pytest.raises(PatchError, match="at least one class module"):
        PatchedClassifier(weak(), [])


@pytest.mark.parametrize(
    ("weak_label", "label", "changed"),
    [
        (0, 0, ()),
        (1, 2, ("cat",)),
        (2, 1, ("cat",)),
        (2, 0, ("cat", "6")),
        (0, 2, ("cat", "6")),
        (0, 3, ("6",)),
        (2, 2, ()),
    ],
)
def test_an_answer_is_changed_by_the_patches_of_the_classes_it_moved_between(
    weak_label: int, label: int, changed: tuple[str, ...]
) -> None:
    model = PatchedClassifier(weak(), [patch("cat"), patch("6")])
    assert model.changed_by(weak_label=weak_label, label=label) == changed


def test_every_answer_that_moved_names_a_patch() -> None:
    model = PatchedClassifier(weak(), [patch("cat"), patch("6", seed=2)]).eval()
    with torch.no_grad():
        both = model.both(torch.from_numpy(pixels(200, 8, 8, 1)))
    moved = 0
    for before, after in zip(both.weak_scores.argmax(1), both.scores.argmax(1), strict=True):
        changed = model.changed_by(weak_label=int(before), label=int(after))
        assert bool(changed) == (before != after)
        moved += int(before != after)
    assert moved


def test_a_composed_classifier_has_each_module_s_score_in_its_own_column() -> None:
    modules = [module_for("6"), module_for("7", GREY, 2), module_for("8", COLOUR, 3)]
    composed = ComposedClassifier(modules).eval()
    images = pixels(6, 8, 8, 3)
    scores = predict(composed, images)
    assert scores.shape == (6, 3)
    assert composed.class_names == ("6", "7", "8")
    for column, one in zip(scores.T, modules, strict=True):
        np.testing.assert_array_equal(column, predict(one, images))


@pytest.mark.parametrize("chosen", [("9",), ("9", "cat"), ("cat", "6", "9")])
def test_some_of_its_patches_alone_are_as_if_there_were_no_others(chosen: tuple[str, ...]) -> None:
    calibration = FittedCalibration(scale=3.0, shift=-0.5)
    weights = {"cat": 0.2, "6": 0.9, "9": -0.4}
    patches = {
        name: patch(name, calibration=calibration, seed=seed)
        for seed, name in enumerate(weights, start=1)
    }

    def stacked(names: Sequence[str]) -> PatchedClassifier:
        fusion = Stacking(
            temperature=1.7, renormalise=True, weak_weights=tuple(weights[n] for n in names)
        )
        return PatchedClassifier(weak(), [patches[n] for n in names], fusion).eval()

    whole, images = stacked(list(weights)), pixels(9, 8, 8, 1)
    some = whole.only(chosen)
    expected = stacked([name for name in weights if name in chosen])
    np.testing.assert_array_equal(predict(some, images), predict(expected, images))
    assert {id(p) for p in some.parameters()} <= {id(p) for p in whole.parameters()}


@pytest.mark.parametrize("chosen", [["cat", "dog"], ["7"], []])
def test_what_is_no_patch_of_its_own_can_not_be_chosen(chosen: list[str]) -> None:
    model = PatchedClassifier(weak(), [patch("cat"), patch("6")])
    with pytest.raises(PatchError, match=r"there are cat, 6|at least one"):
        model.only(chosen)
