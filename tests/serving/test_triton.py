"""Triton's stock client against the real service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from modularizer.classifier import predict
from registry.registry import Registry
from serving.client import PredictClient, npy_bytes, png_bytes
from serving.launch import RunningService
from tests.serving.samples import random_images
from tests.waiting import PATIENCE_SECONDS

IMAGES = random_images(20, 8, 8, 1)
OUTPUTS = ("scores", "label", "weak_scores", "changed_by")


@pytest.fixture
def client(service: RunningService) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(service.url.removeprefix("http://"))
    yield client
    client.close()


def given(array: Any, datatype: str, *, binary: bool) -> InferInput:
    tensor = InferInput("images", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return tensor


def texts(array: Any) -> Any:
    return [one.decode() if isinstance(one, bytes) else one for one in array.ravel().tolist()]


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_every_output_is_that_of_predict(
    service: RunningService,
    client: InferenceServerClient,
    version: str,
    *,
    binary_in: bool,
    binary_out: bool,
) -> None:
    with PredictClient(service.url) as ours:
        expected = ours.predict(npy_bytes(IMAGES)).predictions
    floats = (IMAGES / np.float32(255)).astype(np.float32)
    for sent, datatype in ((IMAGES, "UINT8"), (floats, "FP32")):
        result = client.infer(
            "served",
            [given(sent, datatype, binary=binary_in)],
            model_version=version,
            outputs=[InferRequestedOutput(name, binary_data=binary_out) for name in OUTPUTS],
            request_id="seven",
        )
        found: dict[str, Any] = {name: result.as_numpy(name) for name in OUTPUTS}
        scores = [list(one.scores.values()) for one in expected]
        weak_scores = [list(one.weak_scores.values()) for one in expected]
        np.testing.assert_allclose(found["scores"], scores, atol=1e-5)
        np.testing.assert_allclose(found["weak_scores"], weak_scores, atol=1e-5)
        assert texts(found["label"]) == [one.label for one in expected]
        changed = [[*one.changed_by, "", ""][:2] for one in expected]
        assert texts(found["changed_by"]) == [name for row in changed for name in row]
        assert any(row[0] for row in changed)
        about = result.get_response()
        assert about["id"] == "seven"
        assert (about["model_name"], about["model_version"]) == ("served", "1")


def test_image_files_patches_and_classification(
    service: RunningService, client: InferenceServerClient
) -> None:
    files = np.array([png_bytes(image) for image in IMAGES], dtype=np.object_)
    with PredictClient(service.url) as ours:
        expected = ours.predict(npy_bytes(IMAGES)).predictions
    result = client.infer(
        "served",
        [given(files, "BYTES", binary=True)],
        parameters={"patches": "none"},
        outputs=[InferRequestedOutput("label"), InferRequestedOutput("scores", class_count=1)],
    )
    weak = [one.weak_label for one in expected]
    assert texts(result.as_numpy("label")) == weak
    assert [one.split(":")[2] for one in texts(result.as_numpy("scores"))] == weak


def test_metadata_tells_what_is_answered(client: InferenceServerClient) -> None:
    about: Any = client.get_model_metadata("served")
    assert client.get_model_metadata("served", "1") == about
    assert [one["name"] for one in about["inputs"]] == ["images"]
    result = client.infer("served", [given(IMAGES, "UINT8", binary=True)])
    for output in about["outputs"]:
        found: Any = result.as_numpy(output["name"])
        assert found.ndim == len(output["shape"])
        for size, said in zip(found.shape, output["shape"], strict=True):
            assert said in (-1, size)


def test_what_the_service_does_not_do_is_an_error_of_the_client_s_own_kind(
    client: InferenceServerClient,
) -> None:
    asks: list[Callable[[], Any]] = [
        lambda: client.get_model_config("served"),
        lambda: client.get_inference_statistics("served"),
        lambda: client.get_system_shared_memory_status(),
        lambda: client.get_model_metadata("served", "99"),
        lambda: client.infer("served", [given(IMAGES[..., 0], "UINT8", binary=True)]),
        lambda: client.infer(
            "served",
            [given(IMAGES, "UINT8", binary=True)],
            request_compression_algorithm="gzip",
        ),
    ]
    for ask in asks:
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.message()


def test_the_stock_client_of_the_open_inference_protocol_works_unchanged(
    service: RunningService, home: Path
) -> None:
    images = random_images(20, 8, 8, 1)
    expected = predict(Registry.open(home).load_patched("models:/served/1"), images)
    client = InferenceServerClient(service.url.removeprefix("http://"))
    try:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("served")
        assert client.is_model_ready("served", "1")
        assert not client.is_model_ready("nothing")
        assert client.get_server_metadata()["name"] == "patchbay"
        assert client.get_model_metadata("served")["versions"] == ["1"]
        given = InferInput("images", list(images.shape), "UINT8")
        for binary in (True, False):
            given.set_data_from_numpy(images, binary_data=binary)
            result = client.infer("served", [given], request_id="a")
            scores = result.as_numpy("scores")
            assert scores is not None
            np.testing.assert_allclose(scores, expected, atol=1e-5)
            assert result.get_response()["model_version"] == "1"
        asked = [client.async_infer("served", [given]) for _ in range(5)]
        for one in asked:
            scores = one.get_result().as_numpy("scores")
            assert scores is not None
            np.testing.assert_allclose(scores, expected, atol=1e-5)
        with pytest.raises(InferenceServerException, match="not in memory; there is served/1"):
            client.infer("nothing", [given])
    finally:
        client.close()


def test_the_stock_client_brings_models_in_and_out(service: RunningService) -> None:
    client = InferenceServerClient(service.url.removeprefix("http://"))

    def resident() -> dict[str, bool]:
        index = client.get_model_repository_index()
        return {f"{one['name']}/{one['version']}": one["state"] == "READY" for one in index}

    try:
        assert resident() == {"served/1": True, "strong.TC/1": True, "weak/1": True}
        client.load_model("served")  # looks where the alias stands
        client.load_model("served", config='{"version": 1}')  # stays from now on
        with pytest.raises(InferenceServerException, match="served/1 is the active model"):
            client.unload_model("served")
        with pytest.raises(InferenceServerException, match="there is no model 'nothing'"):
            client.load_model("nothing")
        with pytest.raises(InferenceServerException, match="is a strong model"):
            client.load_model("strong")
    finally:
        client.close()
    # A page of another address, in a browser on this machine, may not do it.
    response = httpx.post(
        f"{service.url}/v2/repository/models/served/load",
        headers={"Origin": "https://elsewhere.example"},
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    )
    assert response.status_code == 403
