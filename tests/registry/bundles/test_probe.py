from __future__ import annotations

import numpy as np
import pytest
import torch

from modularizer.preprocessing import Preprocessing
from registry.bundles.manifest import Probe
from registry.bundles.probe import (
    MAX_LAYER_BYTES,
    probe_images,
    probe_of,
    require_room,
    require_same_answers,
)
from registry.errors import BundleError
from tests.registry.conftest import PREPROCESSING, make_class_module, make_classifier


def test_the_images_are_noise_and_the_same_for_ever() -> None:
    images = probe_images(PREPROCESSING)
    assert images.dtype == torch.uint8
    assert images.shape == (2, 8, 8, 1)
    assert images.flatten()[:6].tolist() == [158, 60, 218, 120, 23, 181]
    large = Preprocessing(size=(40, 30), channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
    counts = np.bincount(probe_images(large).flatten().numpy(), minlength=256)
    assert counts.min() > 0
    assert abs(probe_images(large).float().mean() - 127.5) < 1


def test_a_model_that_is_the_same_passes() -> None:
    classifier = make_classifier()
    probe = probe_of(classifier, PREPROCESSING)
    assert np.array(probe.outputs).shape == (2, 3)
    require_same_answers(classifier, PREPROCESSING, 3, probe)
    require_same_answers(classifier, PREPROCESSING, 3, None)
    module = make_class_module(classifier, "zero")
    require_same_answers(module, PREPROCESSING, 1, probe_of(module, PREPROCESSING))


def test_rounding_passes_and_one_changed_weight_does_not() -> None:
    classifier = make_classifier()
    probe = probe_of(classifier, PREPROCESSING)
    tensor = next(p for p in classifier.parameters() if p.ndim == 4)
    with torch.no_grad():
        tensor.mul_(1 + 1e-6)
    require_same_answers(classifier, PREPROCESSING, 3, probe)
    with torch.no_grad():
        tensor[0, 0, 0, 0] += 0.5
    with pytest.raises(BundleError, match="doesn't answer a test image as it did"):
        require_same_answers(classifier, PREPROCESSING, 3, probe)


def test_another_number_of_scores_is_refused() -> None:
    classifier = make_classifier()
    with pytest.raises(BundleError, match="one score for each of 4 classes, found 3"):
        require_same_answers(classifier, PREPROCESSING, 4, None)
    with pytest.raises(BundleError, match="shape"):
        require_same_answers(classifier, PREPROCESSING, 3, Probe(outputs=((1.0,), (1.0,))))


def test_images_that_do_not_fit_are_one_clear_error() -> None:
    other = PREPROCESSING.model_copy(update={"size": (40, 40)})
    classifier = make_classifier()
    classifier.preprocessing = other
    with pytest.raises(BundleError, match="doesn't take the images"):
        require_same_answers(classifier, other, 3, None)


def test_a_model_that_answers_nan_is_not_stored() -> None:
    classifier = make_classifier()
    with torch.no_grad():
        next(classifier.parameters()).fill_(float("nan"))
    with pytest.raises(BundleError, match="NaN or infinity on a test image"):
        probe_of(classifier, PREPROCESSING)


def test_images_that_take_too_much_memory_are_refused_before_any_is_taken() -> None:
    channels = 64
    with torch.device("meta"):
        network = torch.nn.Sequential(torch.nn.Conv2d(3, channels, 3, padding=1), torch.nn.ReLU())

    def image(side: int) -> Preprocessing:
        return Preprocessing(size=(side, side), channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)

    # ReLU takes and gives 64 maps of 32-bit numbers, for two images.
    largest = int((MAX_LAYER_BYTES / (2 * 2 * channels * 4)) ** 0.5)
    require_room(network, image(largest))
    with pytest.raises(BundleError, match=f"at most {MAX_LAYER_BYTES} are allowed"):
        require_room(network, image(largest + 1))
    with pytest.raises(BundleError, match="doesn't take the images"):
        require_room(network, PREPROCESSING)
