from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks.serving.payloads import jpeg_file, npy_file
from benchmarks.serving.pictures import smooth_noise
from benchmarks.serving.plain_model import PlainModel
from benchmarks.serving.subject import TOY, Subject, register_subject
from modularizer.assembly.patched import predict_both
from registry.registry import Registry
from serving.client import png_bytes


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry.open(tmp_path_factory.mktemp("plain") / "home")


@pytest.fixture(scope="module")
def subject(registry: Registry) -> Subject:
    return register_subject(registry, TOY, seed=3)


@pytest.fixture(scope="module")
def model(
    registry: Registry, subject: Subject, tmp_path_factory: pytest.TempPathFactory
) -> PlainModel:
    archive = tmp_path_factory.mktemp("plain") / "archive"
    registry.exchange.export_archive(subject.uri, archive)
    return PlainModel(archive)


def test_it_says_what_the_registered_model_says(subject: Subject, model: PlainModel) -> None:
    images = np.stack([smooth_noise(8, 8, seed=seed) for seed in subject.seeds])
    expected = predict_both(subject.patched, images)
    names = subject.patched.class_names
    for number, image in enumerate(images):
        for file in (npy_file(image), png_bytes(image)):
            [said] = model.answers(model.prepared(file))
            assert list(said["scores"]) == list(names)
            scores, weak = (list(said[which].values()) for which in ("scores", "weak_scores"))
            assert scores == pytest.approx(expected.scores[number].tolist(), abs=1e-6)
            assert weak == pytest.approx(expected.weak_scores[number].tolist(), abs=1e-6)
            assert said["label"] == names[int(expected.scores[number].argmax())]
            assert said["weak_label"] == names[int(expected.weak_scores[number].argmax())]
            json.dumps(said)


def test_many_images_at_once_are_answered_as_one_by_one(
    subject: Subject, model: PlainModel
) -> None:
    sizes = ((8, 8), (48, 64), (8, 8), (20, 10))
    files = [
        jpeg_file(smooth_noise(*size, seed=seed))
        for seed, size in zip(subject.seeds, sizes, strict=True)
    ]
    inputs = [model.prepared(file) for file in files]
    together = model.answers([torch.cat(each) for each in zip(*inputs, strict=True)])
    for one, expected in zip(together, (model.answers(each)[0] for each in inputs), strict=True):
        assert one["label"] == expected["label"]
        assert one["scores"] == pytest.approx(expected["scores"], abs=1e-6)
