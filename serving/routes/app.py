"""The routes of patchbay's own: POST /predict, and what there is at /."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.decoding.images import ImageLimits, decode_images
from serving.errors import RequestError
from serving.protocol import PredictResponse
from serving.residency.state import ServiceState
from serving.routes.answers import error_answer, json_answer
from serving.routes.body import read_files
from serving.telemetry import Telemetry

logger = logging.getLogger(__name__)

_ROUTES = {
    "POST /predict": "predict an image: a PNG, JPEG or .npy body, or several as multipart files",
    "GET /livez": "200 while the process runs",
    "GET /readyz": "200 when there is a model to answer with, else 503 and why",
    "GET /metrics": "counters for Prometheus",
}


class Predict:
    """``POST /predict``: files in, a prediction for each image out."""

    def __init__(self, state: ServiceState, telemetry: Telemetry) -> None:
        settings = state.settings
        self.state = state
        self.telemetry = telemetry
        self.limits = ImageLimits(
            max_images=settings.max_images,
            max_pixels=settings.max_pixels,
            max_request_pixels=settings.max_request_pixels,
        )
        self.decoders = ThreadPoolExecutor(settings.decode_threads, "patchbay-decode")

    async def __call__(self, request: Request) -> Response:
        """Answer, with an error's JSON if need be: nothing is raised past this point.

        An error that got as far as the server would end the connection of a client who may
        have other requests to send.
        """
        try:
            answer = await self._answer(request)
            outcome, response = "ok", answer
        except RequestError as error:
            outcome = error.code
            response = error_answer(error.status, error.code, str(error), error.headers)
        except ClientDisconnect:
            outcome, response = "disconnected", Response(status_code=400)
        except Exception:
            logger.exception("an error of our own while answering /predict")
            outcome = "internal"
            response = error_answer(500, outcome, "an error of the service's own; see its log")
        self.telemetry.count_outcome(outcome)
        return response

    async def _answer(self, request: Request) -> Response:
        engine = self.state.engine()
        settings = self.state.settings
        with self.telemetry.timed("read"):
            files = await read_files(
                request,
                max_bytes=settings.max_body_bytes,
                max_files=settings.max_images,
                seconds=settings.body_seconds,
            )
        with self.telemetry.timed("decode"):
            items = await asyncio.get_running_loop().run_in_executor(
                self.decoders, lambda: engine.prepare(decode_images(files, self.limits))
            )
        predictions = await engine.submit(items)
        with self.telemetry.timed("answer"):
            self.telemetry.count_answers(predictions)
            return json_answer(
                PredictResponse(model=engine.identity, predictions=tuple(predictions))
            )


def create_app(state: ServiceState, telemetry: Telemetry) -> Starlette:
    """The application that the service mounts at /.

    Args:
        state: where the engine is found, once there is one.
        telemetry: what is counted.
    """
    predict = Predict(state, telemetry)

    async def handle_predict(request: Request) -> Response:
        return await predict(request)

    async def handle_index(_: Request) -> Response:
        return JSONResponse({"service": "patchbay", "routes": _ROUTES})

    app = Starlette(
        routes=[
            Route("/predict", handle_predict, methods=["POST"]),
            Route("/", handle_index, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _http_error},
    )
    app.router.redirect_slashes = False  # a redirect would go where the Host header says
    return app


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    message = error.detail
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        message = f"this route takes {(error.headers or {}).get('Allow', 'another method')} only"
    elif status == HTTPStatus.NOT_FOUND:
        message = "there is no such route; GET / lists them"
    return error_answer(status, status.name.lower(), message, error.headers)
