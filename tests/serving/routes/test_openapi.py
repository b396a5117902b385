"""The document covers the routes; requests made up from it get the answers that it tells of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route
from tritonclient.http import InferRequestedOutput

from serving.engine.batcher import Batcher
from serving.residency.state import ServiceState
from serving.routes.app import create_app
from serving.routes.intake import Intake
from serving.routes.openapi import OPERATIONS, openapi_document
from serving.routes.readiness import Readiness
from serving.settings import Settings
from serving.telemetry import Telemetry
from serving.v2.outputs import OUTPUT_NAMES
from tests.serving.routes.conftest import Service
from tests.serving.routes.test_v2 import IMAGES, infer
from tests.serving.samples import make_served, npy_bytes

BENTOML_S = {("GET", "/livez"), ("GET", "/readyz")}


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    app = create_app(Intake(ServiceState(Settings()), Telemetry()))
    mounted = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    documented = [(operation.method, operation.path) for operation in OPERATIONS]
    assert len(set(documented)) == len(documented)
    assert set(documented) == mounted | BENTOML_S


def test_references_lead_somewhere_and_names_are_distinct() -> None:
    document = openapi_document()

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    schemas = document["components"]["schemas"]
    used = {one.removeprefix("#/components/schemas/") for one in references(document)}
    assert used <= set(schemas)
    assert set(schemas) <= used
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names)


def require_valid(method: str, path: str, response: httpx.Response) -> None:
    """Hold an answer to what the document says of it."""
    document = openapi_document()
    answers = document["paths"][path][method]["responses"]
    content = answers[str(response.status_code)]["content"]
    schema = content[response.headers["content-type"].partition(";")[0]]["schema"]
    whole = schema | {"components": document["components"]}
    jsonschema_rs.validator_for(whole).validate(response.json())


def test_what_is_answered_is_what_the_document_says(gated: Service) -> None:
    body = npy_bytes(IMAGES)
    for query in ("", "?explain=1", "?patches=none", "?patches=ship", "?x=1"):
        require_valid("post", "/predict", gated.predict(body, query))
    outputs = [InferRequestedOutput(name, binary_data=False) for name in OUTPUT_NAMES]
    answered = infer(gated, IMAGES, "UINT8", binary=False, outputs=outputs)
    require_valid("post", "/v2/models/{name}/infer", answered)
    broken = gated.ask("POST", "/v2/models/digits/infer", content=b"{")
    require_valid("post", "/v2/models/{name}/infer", broken)
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/model", "/status", "/samples"):
        require_valid("get", path, gated.ask("GET", path))
    require_valid("get", "/v2/models/{name}", gated.ask("GET", "/v2/models/digits"))
    assert gated.ask("GET", "/openapi.json").json() == openapi_document()


def make_app() -> Any:
    state, telemetry = ServiceState(Settings(deadline_seconds=120)), Telemetry()
    state.open(Batcher())
    state.residents.activate(make_served())
    return Readiness(create_app(Intake(state, telemetry)), state)


schema = schemathesis.openapi.from_asgi("/openapi.json", make_app()).exclude(path="/livez")


@schema.parametrize()
@settings(max_examples=15, suppress_health_check=list(HealthCheck), deadline=None)
def test_requests_made_up_from_the_document_get_answers_that_it_tells_of(case: Any) -> None:
    # That a name is known, and bytes are an image, is more than a schema can say.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
