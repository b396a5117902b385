"""The Open Inference Protocol's routes, with bodies as the stock client makes them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from serving.settings import Settings
from serving.v2.body import HEADER_LENGTH
from tests.serving.routes.conftest import Service
from tests.serving.samples import CLASS_NAMES, encode, make_engine, make_served, random_images

IMAGES = random_images(6, 8, 8, 1)
INFER = "/v2/models/digits/infer"


def infer(
    service: Service,
    array: Any,
    datatype: str,
    *,
    binary: bool = True,
    path: str = INFER,
    **more: Any,
) -> httpx.Response:
    given = InferInput("images", list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    body, length = InferenceServerClient.generate_request_body([given], **more)
    headers = {} if length is None else {HEADER_LENGTH: str(length)}
    return service.ask("POST", path, content=body, headers=headers)


def result_of(response: httpx.Response) -> InferResult:
    assert response.status_code == 200, response.text
    length = response.headers.get(HEADER_LENGTH)
    return InferResult.from_response_body(
        response.content, header_length=None if length is None else int(length)
    )


def error_of(response: httpx.Response) -> tuple[int, str]:
    assert set(response.json()) == {"error"}
    return response.status_code, response.json()["error"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_tensors_are_answered_as_offline(gated: Service, datatype: str, *, binary: bool) -> None:
    sent: Any = IMAGES if datatype == "UINT8" else (IMAGES / np.float32(255)).astype(np.float32)
    outputs = [
        InferRequestedOutput(name, binary_data=binary)
        for name in ("scores", "label", "weak_scores", "changed_by")
    ]
    result = result_of(infer(gated, sent, datatype, binary=binary, outputs=outputs, request_id="7"))
    expected = make_engine().answer(list(IMAGES))
    np.testing.assert_allclose(result.as_numpy("scores"), expected.scores, atol=1e-5)
    np.testing.assert_allclose(result.as_numpy("weak_scores"), expected.weak_scores, atol=1e-5)
    labels = [text(one) for one in result.as_numpy("label")]
    assert labels == [CLASS_NAMES[label] for label in expected.labels]
    changed = [[text(one) for one in row if text(one)] for row in result.as_numpy("changed_by")]
    assert changed == [list(expected.changed_by(row)) for row in range(len(IMAGES))]
    about = result.get_response()
    assert (about["model_name"], about["model_version"], about["id"]) == ("digits", "3", "7")
    assert gated.outcomes("ok", "infer") == 1


def text(element: Any) -> str:
    return element.decode() if isinstance(element, bytes) else str(element)


def test_encoded_images_are_decoded_like_those_of_predict(gated: Service) -> None:
    files = [encode(Image.fromarray(image[:, :, 0])) for image in IMAGES]
    result = result_of(infer(gated, np.array(files, dtype=np.object_), "BYTES"))
    expected = make_engine().answer(list(IMAGES))
    np.testing.assert_allclose(result.as_numpy("scores"), expected.scores, atol=1e-5)
    broken = [files[0], files[1][:40]]
    status, message = error_of(infer(gated, np.array(broken, dtype=np.object_), "BYTES"))
    assert status == 422
    assert message.startswith("file 2: this PNG is broken")


@pytest.mark.parametrize(("patches", "expected"), [("7", ["7"]), ("none", []), ("all", None)])
def test_a_request_chooses_its_patches(
    gated: Service, patches: str, expected: list[str] | None
) -> None:
    result = result_of(infer(gated, IMAGES, "UINT8", parameters={"patches": patches}))
    engine = make_engine()
    offline = engine.answer(list(IMAGES), engine.ask(expected))
    np.testing.assert_allclose(result.as_numpy("scores"), offline.scores, atol=1e-5)


def test_a_version_is_asked_by_its_number(gated: Service) -> None:
    gated.state.residents.keep(make_served("digits", 1))
    path = "/v2/models/digits/versions/{}/infer"
    for there in ("1", "3"):
        response = infer(gated, IMAGES, "UINT8", path=path.format(there))
        assert result_of(response).get_response()["model_version"] == there
    assert gated.ask("GET", "/v2/models/digits").json()["versions"] == ["1", "3"]
    for version, message in (("2", "digits/2 is not in memory"), ("x", "expected a version")):
        for route in ("", "/ready"):
            response = gated.ask("GET", f"/v2/models/digits/versions/{version}{route}")
            assert response.status_code == 404
            assert message in response.json()["error"]
        assert infer(gated, IMAGES, "UINT8", path=path.format(version)).status_code == 404


def test_an_unknown_model_is_an_error_in_the_protocol_s_words(gated: Service) -> None:
    response = infer(gated, IMAGES, "UINT8", path="/v2/models/cats/infer")
    assert error_of(response) == (404, "cats is not in memory; there is digits/3")
    assert error_of(gated.ask("GET", "/v2/nothing")) == (
        404,
        "there is no such route; GET / lists them",
    )
    assert error_of(gated.ask("GET", INFER))[0] == 405


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        ({"patches": "ship"}, 422, "has no patch for 'ship'"),
        ({"patches": ""}, 400, "patches is empty"),
    ],
)
def test_wishes_that_can_not_be_met_are_errors(
    gated: Service, parameters: dict[str, Any], status: int, message: str
) -> None:
    found = error_of(infer(gated, IMAGES, "UINT8", parameters=parameters))
    assert found[0] == status
    assert message in found[1]


def test_a_timeout_in_microseconds_is_kept(gated: Service) -> None:
    gated.gate.is_open.clear()
    found = error_of(infer(gated, IMAGES, "UINT8", timeout=50_000))
    assert found == (504, "there was no answer within 0.05 seconds")
    assert gated.outcomes("deadline_exceeded", "infer") == 1


def test_broken_bodies_are_errors_and_leave_no_trace(gated: Service) -> None:
    for body, headers in [
        (b"", {}),
        (b"{", {}),
        (b"[]", {}),
        (b"{}", {HEADER_LENGTH: "100"}),
        (b"{}", {HEADER_LENGTH: "x"}),
        (json.dumps({"inputs": []}).encode(), {}),
        (bytes(3000), {}),
    ]:
        response = gated.ask("POST", INFER, content=body, headers=headers)
        assert 400 <= response.status_code < 500, body
        assert error_of(response)[1]
    assert result_of(infer(gated, IMAGES, "UINT8")).as_numpy("scores").shape == (6, 5)


def test_the_server_says_what_it_is(gated: Service) -> None:
    about = gated.ask("GET", "/v2").json()
    assert about["name"] == "patchbay"
    assert "binary_tensor_data" in about["extensions"]
    assert gated.ask("GET", "/v2/health/live").json() == {"live": True}
    assert gated.ask("GET", "/v2/health/ready").json() == {"ready": True}
    assert gated.ask("GET", "/v2/models/digits/ready").json() == {"name": "digits", "ready": True}
    about_model = gated.ask("GET", "/v2/models/digits").json()
    assert [one["name"] for one in about_model["outputs"]] == [
        "scores",
        "label",
        "weak_scores",
        "changed_by",
    ]
    assert about_model["outputs"][0]["shape"] == [-1, 5]


def test_without_a_model_it_lives_and_is_not_ready() -> None:
    service = Service(Settings())
    service.state.residents.clear()
    service.state.fail("no_model", "PATCHBAY_MODEL_URI is not set")
    assert service.ask("GET", "/v2/health/live").status_code == 200
    response = service.ask("GET", "/v2/health/ready")
    assert (response.status_code, response.json()) == (503, {"ready": False})
    response = infer(service, IMAGES, "UINT8")
    assert error_of(response) == (503, "PATCHBAY_MODEL_URI is not set")
    assert response.headers["retry-after"] == "30"
    service.close()
