from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.serving.networks import time_networks
from benchmarks.serving.payloads import file_payloads, mlflow_payloads, v2_payloads
from benchmarks.serving.pictures import smooth_noise
from benchmarks.serving.subject import QUARTER, TOY, Subject, register_subject
from modularizer.classifier import predict
from registry.registry import Registry
from registry.standalone import load_archive
from serving.decoding.limits import ImageLimits
from serving.pyfunc import ScoringModel
from serving.v2.body import HEADER_LENGTH
from serving.v2.images import Pixels
from serving.v2.request import parse_infer


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry.open(tmp_path_factory.mktemp("bench") / "home")


@pytest.fixture(scope="module")
def subject(registry: Registry) -> Subject:
    return register_subject(registry, TOY, seed=3)


def test_pictures_are_smooth_and_alike_at_each_size() -> None:
    small, large = smooth_noise(32, 32, seed=1), smooth_noise(480, 640, seed=1)
    assert (small.shape, large.shape) == ((32, 32, 3), (480, 640, 3))
    assert small.dtype == large.dtype == np.uint8
    assert np.array_equal(small, smooth_noise(32, 32, seed=1))
    steps = np.abs(np.diff(large.astype(int), axis=0)).mean()
    assert steps < 0.1 * large.std()
    shrunk = np.asarray(Image.fromarray(large).resize((32, 32)))
    assert np.corrcoef(shrunk.flatten(), small.flatten())[0, 1] > 0.9
    assert np.corrcoef(smooth_noise(32, 32, seed=2).flatten(), small.flatten())[0, 1] < 0.5


def test_the_patch_moves_half_of_the_answers_clearly(subject: Subject) -> None:
    images = np.stack([smooth_noise(8, 8, seed=seed) for seed in subject.seeds])
    scores = predict(subject.patched, images)
    target = subject.patched.weak.class_index(subject.patched.patches[0].class_name)
    assert sorted(scores[:, target] > 1) == [False, False, True, True]
    assert sorted(scores[:, target] < 0) == [False, False, True, True]
    assert subject.kernels_kept == pytest.approx(0.6, abs=0.05)
    facts = subject.facts()
    assert facts["multiply_adds"]["module"] < facts["multiply_adds"]["weak"]


@pytest.mark.parametrize("name", ["npy", "png", "jpeg"])
def test_each_form_has_the_labels_of_its_side(subject: Subject, name: str) -> None:
    patched, weak = (file_payloads(subject, side)[name] for side in ("patched", "weak"))
    assert (patched.path, weak.path) == ("/predict", "/predict?patches=none")
    assert [one.body for one in patched.exchanges] == [one.body for one in weak.exchanges]
    labels = [one.labels for one in patched.exchanges]
    assert sum(a.labels != b for a, b in zip(weak.exchanges, labels, strict=True)) == 2
    assert len({one.body for one in patched.exchanges}) == 4


def test_mlflow_s_forms_hold_the_same_files(
    subject: Subject, registry: Registry, tmp_path: Path
) -> None:
    forms = mlflow_payloads(subject)
    files = {name: [e.body for e in p.exchanges] for name, p in forms.items()}
    npy = [one.body for one in file_payloads(subject, "patched")["npy"].exchanges]
    split = [json.loads(body)["dataframe_split"]["data"][0][0] for body in files["split-json-npy"]]
    records = [
        json.loads(body)["dataframe_records"][0]["image"] for body in files["records-json-npy"]
    ]
    assert [base64.b64decode(text) for text in split] == npy
    assert records == split
    tables = [pd.read_parquet(io.BytesIO(body)) for body in files["parquet-npy"]]
    assert [table["image"][0] for table in tables] == npy
    registry.exchange.export_archive(subject.uri, tmp_path / "archive")
    model = ScoringModel(load_archive(tmp_path / "archive"))
    labels = [str(model.predict(table)["label"][0]) for table in tables]
    assert [(label,) for label in labels] == [one.labels for one in forms["parquet-npy"].exchanges]


def test_the_v2_forms_are_what_the_service_reads(subject: Subject) -> None:
    images = [smooth_noise(8, 8, seed=seed) for seed in subject.seeds]
    labels = [one.labels for one in file_payloads(subject, "patched")["npy"].exchanges]
    for name, payload in v2_payloads(subject).items():
        assert payload.path == "/v2/models/served/infer"
        for image, label, one in zip(images, labels, payload.exchanges, strict=True):
            request = parse_infer(
                one.body,
                header_length=payload.headers.get(HEADER_LENGTH),
                limits=ImageLimits(1, 100, 100),
            )
            assert isinstance(request.images, Pixels)
            assert np.array_equal(request.images.images[0], image)
            assert all(wanted.binary == (name == "v2-binary") for wanted in request.outputs)
            assert one.labels == label


@pytest.mark.timed
def test_bare_networks_take_longer_the_larger_they_are(registry: Registry) -> None:
    large = register_subject(registry, QUARTER)
    found = time_networks(large, images=1, seconds=0.2)
    assert 0 < found.module_ms < found.weak_ms  # 7 million multiply-adds and 20 million
    assert found.both_ms == found.weak_ms + found.module_ms
    assert found.allowed_share == found.weak_ms / found.both_ms
    assert found.repeats >= 5
    together = time_networks(large, images=16, seconds=0.2)
    assert together.both_ms < found.both_ms  # an image
