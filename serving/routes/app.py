"""The routes of patchbay's own: POST /predict, and what there is at /."""

from __future__ import annotations

from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.routes.door import ImageRoute
from serving.routes.intake import Intake
from serving.routes.odd_paths import no_route
from serving.routes.openapi import openapi_route
from serving.routes.page import Page
from serving.routes.predict import Predict
from serving.routes.repository import repository_routes
from serving.routes.responses import error_answer, json_answer, refusal
from serving.routes.status import Status
from serving.routes.v2 import error_answer as v2_error
from serving.routes.v2 import infer_routes, v2_routes
from serving.sample_images import read_samples
from serving.v2.messages import ErrorMessage

_ROUTES = {
    "POST /predict": "predict an image: a PNG, JPEG, WebP or .npy body, or several as multipart "
    "files; ?patches=CLASS,CLASS or none, ?explain=1, ?timeout_ms=MILLISECONDS",
    "GET /v2, POST /v2/models/NAME/infer": "the Open Inference Protocol, for its clients",
    "GET /model": "the version that answers: what it was made of and judged by",
    "GET /status": "what this process has done since it started",
    "GET /samples, GET /samples/NAME": "images to try it with",
    "GET /livez": "200 while the process runs",
    "GET /readyz": "200 when there is a model to answer with, else 503 and why",
    "GET /metrics": "counters for Prometheus",
    "GET /openapi.json": "all of this, for programs",
}


def create_app(intake: Intake) -> Starlette:
    """The application that the service mounts at /.

    Args:
        intake: what requests with images go through.
    """
    state, telemetry = intake.state, intake.telemetry
    index = {"service": "patchbay", "routes": _ROUTES}
    page = Page(index, read_samples(state.settings.samples))

    async def handle_metrics(_: Request) -> Response:
        body, media_type = telemetry.exposition()
        return Response(body, headers={"Content-Type": media_type})

    app = Starlette(
        routes=[
            *(one.route for one in image_routes(intake)),
            *v2_routes(intake),
            *repository_routes(state),
            Route("/metrics", handle_metrics, methods=["GET"]),
            openapi_route(),
            *Status(intake).routes(),
            *page.routes(),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False  # a redirect would go where the Host header says
    return app


def image_routes(intake: Intake) -> list[ImageRoute]:
    """The routes that images are sent to.

    Args:
        intake: what they go through.
    """
    predict = Predict(intake)

    async def handle_predict(request: Request) -> Response:
        return await predict(request)

    return [
        ImageRoute("predict", Route("/predict", handle_predict, methods=["POST"]), refusal),
        *(ImageRoute("infer", route, v2_error) for route in infer_routes(intake)),
    ]


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    message = error.detail
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        message = f"this route takes {(error.headers or {}).get('Allow', 'another method')} only"
    elif status == HTTPStatus.NOT_FOUND:
        return no_route(request.url.path)
    if request.url.path.startswith("/v2"):
        return json_answer(ErrorMessage(error=message), status=status, headers=error.headers)
    return error_answer(status, status.name.lower(), message, error.headers)
