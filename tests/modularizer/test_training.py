from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.augmentation import shifted
from modularizer.classifier import predict
from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.images import ImageSet
from modularizer.epochs import Stop, one_cycle
from modularizer.errors import ArchitectureError, CheckpointError, DataError, ModularizerError
from modularizer.preprocessing import Preprocessing
from modularizer.progress import Progress
from modularizer.settings import TrainingSettings
from modularizer.training import TrainingResult, train_classifier, train_to_stops

SPEC = ArchitectureSpec(
    name="simcnn",
    arguments={
        "stages": [[4], [6]],
        "hidden": [8],
        "in_channels": 1,
        "input_size": 8,
        "dropout": 0.1,
    },
)
SETTINGS = TrainingSettings(epochs=6, batch_size=16, learning_rate=0.05, seed=3)


def image_set(count: int, seed: int) -> ImageSet:
    """Noise with a bright bar whose place is the class: something to learn, not at once."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 3
    images = generator.integers(0, 120, (count, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 2 * label + 1] = np.minimum(image[:, 2 * label + 1] + 110, 255)
    return ImageSet(images, labels, ("left", "middle", "right"))


TEST = image_set(30, 2)
DATA = DataSplits(image_set(60, 0), image_set(45, 1), HeldOut(TEST), "bars")


def train(settings: TrainingSettings = SETTINGS, **more: Any) -> TrainingResult:
    data = more.pop("data", DATA)
    return train_classifier(data, more.pop("architecture", SPEC), settings, **more)


def weights(result: TrainingResult) -> dict[str, torch.Tensor]:
    return result.classifier.network.state_dict()


def same(first: TrainingResult, second: TrainingResult) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


AUGMENTED = SETTINGS.model_copy(update={"augment_crop": 1, "augment_flip": True})


@pytest.mark.parametrize("settings", [SETTINGS, AUGMENTED])
def test_the_same_seed_trains_the_same_network_whatever_was_drawn_before(
    settings: TrainingSettings,
) -> None:
    torch.manual_seed(0)
    first = train(settings)
    torch.rand(17)
    second = train(settings)
    assert same(first, second)
    assert first.history == second.history
    assert not same(first, train(settings.model_copy(update={"seed": 4})))


def test_training_leaves_the_global_generators_alone() -> None:
    before, numpy_before = torch.get_rng_state(), str(np.random.get_state(legacy=False))
    train(AUGMENTED)
    assert torch.equal(before, torch.get_rng_state())
    assert str(np.random.get_state(legacy=False)) == numpy_before
    with pytest.raises(ModularizerError):
        train(SETTINGS.model_copy(update={"learning_rate": 1e30}))
    assert torch.equal(before, torch.get_rng_state())


def test_the_best_epoch_is_the_first_with_the_highest_validation_accuracy() -> None:
    result = train()
    accuracies = [epoch["validation_accuracy"] for epoch in result.history]
    assert len(accuracies) == 6
    assert result.best_epoch == result.epoch == accuracies.index(max(accuracies)) + 1
    assert result.validation_accuracy == max(accuracies)
    predicted = predict(result.classifier, DATA.validation.images).argmax(axis=1)
    found = float((predicted == DATA.validation.labels).mean())
    assert found == pytest.approx(result.validation_accuracy)
    assert max(accuracies) > 0.5  # it learns: 1 in 3 by chance
    assert not any(module.training for module in result.classifier.modules())


CONSTANT = SETTINGS.model_copy(update={"milestones": (1.0,), "epochs": 8})


@pytest.mark.parametrize("seed", range(5))
def test_underfitting_takes_the_weights_of_half_of_the_best_epoch(seed: int) -> None:
    settings = CONSTANT.model_copy(update={"seed": seed})
    whole = train(settings)
    under = train(settings, stop="underfitting")
    assert under.best_epoch == whole.best_epoch
    assert under.epoch == max(1, whole.best_epoch // 2)
    assert under.history == whole.history
    assert under.validation_accuracy == whole.history[under.epoch - 1]["validation_accuracy"]
    # a run that ends at that epoch has seen the same steps: the rate is constant before the end
    reached = weights_after(settings, under.epoch)
    assert all(torch.equal(reached[k], tensor) for k, tensor in weights(under).items())


def weights_after(settings: TrainingSettings, epochs: int) -> dict[str, torch.Tensor]:
    """The last weights of a shorter run, whichever of its epochs was the best."""
    last: dict[str, torch.Tensor] = {}
    seen: list[Any] = []

    def remember(progress: Progress) -> None:
        for network in seen:
            last.update({k: v.clone() for k, v in network.state_dict().items()})

    def watched(*args: Any, **kwargs: Any) -> torch.nn.Module:
        seen.append(build_network(*args, **kwargs))
        network: torch.nn.Module = seen[-1]
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modularizer.training.build_network", watched)
        train(settings.model_copy(update={"epochs": epochs}), progress=remember)
    return last


def test_the_learning_rate_falls_by_ten_at_each_milestone() -> None:
    settings = TrainingSettings(epochs=10, milestones=(0.3, 0.6), learning_rate=0.02)
    rates = [epoch["learning_rate"] for epoch in train(settings).history]
    assert rates == pytest.approx([0.02] * 3 + [0.002] * 3 + [0.0002] * 4)


def test_one_cycle_rises_for_a_quarter_of_the_steps_and_falls_to_nothing() -> None:
    settings = TrainingSettings(epochs=8, schedule="one-cycle", learning_rate=0.1, batch_size=10)
    rates = [epoch["learning_rate"] for epoch in train(settings).history]
    cosine = [(1 + np.cos(np.pi * n / 6)) / 20 for n in range(6)]
    assert rates == pytest.approx([0.004, 0.052, *cosine])
    assert one_cycle(1.0) == pytest.approx(0.0)


def test_several_stops_of_one_run_are_those_of_runs_of_their_own() -> None:
    settings = CONSTANT.model_copy(update={"seed": 1})
    stops: tuple[Stop, ...] = ("underfitting", "last", "best")
    together = train_to_stops(DATA, SPEC, settings, stops=stops)
    for stop, one in zip(stops, together, strict=True):
        alone = train(settings, stop=stop)
        assert same(one, alone)
        assert (one.epoch, one.validation_accuracy) == (alone.epoch, alone.validation_accuracy)
    assert together[1].epoch == settings.epochs
    reached = weights_after(settings, settings.epochs)
    assert all(torch.equal(reached[k], tensor) for k, tensor in weights(together[1]).items())


class InterruptionError(Exception):
    """Stands for the end of a process."""


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("last_epoch", [1, 3, 5])
def test_an_interrupted_training_goes_on_to_the_same_bits(
    tmp_path: Path, last_epoch: int, batch_norm: bool
) -> None:
    settings = AUGMENTED.model_copy(update={"schedule": "one-cycle"})
    spec = SPEC.model_copy(update={"arguments": {**SPEC.arguments, "batch_norm": batch_norm}})
    stops: tuple[Stop, ...] = ("underfitting", "best")
    whole = train_to_stops(DATA, spec, settings, stops=stops)

    def interrupt(progress: Progress) -> None:
        if progress.done == last_epoch:
            raise InterruptionError

    checkpoint = tmp_path / "training"
    with pytest.raises(InterruptionError):
        train_to_stops(DATA, spec, settings, stops=stops, checkpoint=checkpoint, progress=interrupt)
    torch.rand(3)
    told: list[int] = []
    resumed = train_to_stops(
        DATA,
        spec,
        settings,
        stops=stops,
        checkpoint=checkpoint,
        progress=lambda step: told.append(step.done),
    )
    assert told == list(range(last_epoch + 1, 7))
    for one, other in zip(whole, resumed, strict=True):
        assert same(one, other)
        assert (one.epoch, one.history) == (other.epoch, other.history)


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "training"
    train_to_stops(DATA, SPEC, SETTINGS, stops=("best",), checkpoint=checkpoint)
    other = SETTINGS.model_copy(update={"seed": 4})
    with pytest.raises(CheckpointError, match="of another task"):
        train_to_stops(DATA, SPEC, other, stops=("best",), checkpoint=checkpoint)
    with pytest.raises(CheckpointError, match="of another task"):
        train_to_stops(DATA, SPEC, SETTINGS, stops=("last",), checkpoint=checkpoint)


def test_progress_is_told_after_each_epoch() -> None:
    told: list[Progress] = []
    result = train(progress=told.append)
    assert [(p.stage, p.done, p.total) for p in told] == [("train", n, 6) for n in range(1, 7)]
    assert tuple(p.metrics for p in told) == result.history


class Untouchable(np.ndarray[Any, Any]):
    """Pixels that may not be looked at."""

    def __getitem__(self, key: Any) -> Any:
        raise AssertionError("test images were read")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("test images were read")


def test_test_images_are_not_looked_at() -> None:
    test = HeldOut(ImageSet(TEST.images.view(Untouchable), TEST.labels, TEST.class_names))
    other = HeldOut(image_set(9, 77))
    first, second = train(data=replace(DATA, test=test)), train(data=replace(DATA, test=other))
    assert same(first, second)


def test_preprocessing_is_fitted_to_the_training_images_unless_given() -> None:
    assert train().classifier.preprocessing == Preprocessing.fitted(DATA.train)
    own = Preprocessing(size=(8, 8), channels=1, mean=(0.1,), std=(0.5,))
    assert train(preprocessing=own).classifier.preprocessing == own


def test_the_number_of_classes_comes_from_the_data() -> None:
    wrong = ArchitectureSpec(name="simcnn", arguments={**SPEC.arguments, "num_classes": 99})
    with pytest.raises(ArchitectureError, match="num_classes=99 doesn't fit the data's 3 classes"):
        train(architecture=wrong)
    result = train()
    assert result.classifier.architecture.arguments["num_classes"] == 3
    assert predict(result.classifier, TEST.images).shape == (30, 3)
    assert result.classifier.class_names == DATA.class_names


@pytest.mark.parametrize("epochs", [1, 5])
def test_a_loss_that_is_not_finite_is_refused_with_what_to_do(epochs: int) -> None:
    settings = TrainingSettings(epochs=epochs, learning_rate=1e30, batch_size=100)
    with pytest.raises(ModularizerError, match="lower the learning rate"):
        train(settings)


def test_an_empty_split_is_refused() -> None:
    none = DATA.train.take(np.zeros(0, dtype=np.int64))
    with pytest.raises(DataError, match="the training split of bars has no image"):
        train(data=replace(DATA, train=none))
    with pytest.raises(DataError, match="the validation split of bars has no image"):
        train(data=replace(DATA, validation=none))


def test_a_network_that_does_not_take_the_images_is_refused() -> None:
    colour = ArchitectureSpec(name="simcnn", arguments={**SPEC.arguments, "in_channels": 3})
    with pytest.raises(DataError, match=r"SimCNN.*\(1, 8, 8\)"):
        train(architecture=colour)
    larger = ArchitectureSpec(name="simcnn", arguments={**SPEC.arguments, "input_size": 16})
    with pytest.raises(DataError, match=r"SimCNN.*\(1, 8, 8\)"):
        train(architecture=larger)


def test_a_network_that_writes_into_its_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(spec: ArchitectureSpec) -> nn.Module:
        return nn.Sequential(nn.ReLU(inplace=True), build_network(spec))

    monkeypatch.setattr("modularizer.training.build_network", build)
    with pytest.raises(ArchitectureError, match="writes into its images, which are shown"):
        train()


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="no architecture 'vgg'"):
        train(architecture=ArchitectureSpec(name="vgg"))


def test_a_shift_moves_each_image_as_a_whole_and_zeros_come_in() -> None:
    images = torch.rand(50, 2, 5, 6) + 1
    moved = shifted(images, 2, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    offsets = set()
    for before, after in zip(padded, moved, strict=True):
        fits = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if torch.equal(before[:, top : top + 5, left : left + 6], after)
        ]
        assert len(fits) == 1
        offsets.add(fits[0])
    assert len(offsets) > 12


def test_batches_of_one_image_train_too() -> None:
    trained = train_classifier(DATA, SPEC, TrainingSettings(epochs=1, batch_size=1))
    assert trained.history[0]["train_loss"] > 0
