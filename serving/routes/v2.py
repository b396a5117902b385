"""The Open Inference Protocol (V2): what KServe, Triton and MLServer clients speak."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modularizer.software import own_version
from serving.decoding.images import decode_images
from serving.errors import BadTensorError, NotReadyError, RequestError, UnknownModelError
from serving.residency.state import ServiceState
from serving.routes.admission import Admitted
from serving.routes.intake import SMALL_BYTES, Intake, in_time
from serving.routes.predict import require_finite
from serving.routes.query import chosen_patches
from serving.routes.responses import json_answer
from serving.v2.answer import InferAnswer, encode_infer
from serving.v2.body import HEADER_LENGTH
from serving.v2.images import EncodedFiles
from serving.v2.messages import (
    ErrorMessage,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    describe_model,
)
from serving.v2.request import InferRequest, parse_infer

if TYPE_CHECKING:  # torch takes seconds to import: /livez answers before it is there
    from serving.engine.answers import Answers
    from serving.engine.prepared import Image
    from serving.residency.served import ServedModel

_MODEL = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def error_answer(error: RequestError) -> Response:
    """An error as V2 clients expect it: one string."""
    return json_answer(ErrorMessage(error=str(error)), status=error.status, headers=error.headers)


def v2_routes(intake: Intake) -> list[Route]:
    """The protocol's routes, but for those that images are sent to.

    Args:
        intake: whose models they tell of.
    """
    health, models = Health(intake.state), Models(intake.state)
    routes = [
        Route("/v2", health.server, methods=["GET"]),
        Route("/v2/health/live", health.live, methods=["GET"]),
        Route("/v2/health/ready", health.ready, methods=["GET"]),
    ]
    for path in _MODEL:
        routes += [
            Route(path, models.metadata, methods=["GET"]),
            Route(f"{path}/ready", models.ready, methods=["GET"]),
        ]
    return routes


def infer_routes(intake: Intake) -> list[Route]:
    """The protocol's routes that images are sent to.

    Args:
        intake: what their requests go through.
    """
    infer = Infer(intake)
    return [Route(f"{path}/infer", infer.handle, methods=["POST"]) for path in _MODEL]


class Health:
    """What the server is, and whether it has a model to answer with."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._version = own_version()

    async def server(self, _: Request) -> Response:
        """``GET /v2``."""
        return json_answer(ServerMetadata(version=self._version))

    async def live(self, _: Request) -> Response:
        """``GET /v2/health/live``."""
        return json_answer(ServerLive(live=True))

    async def ready(self, _: Request) -> Response:
        """``GET /v2/health/ready``; `/readyz` says why not."""
        try:
            self._state.require_active()
        except NotReadyError as error:
            return json_answer(ServerReady(ready=False), status=503, headers=error.headers)
        return json_answer(ServerReady(ready=True))


class Models:
    """What there is to ask."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state

    async def metadata(self, request: Request) -> Response:
        """``GET /v2/models/NAME``: inputs and outputs."""

        def describe(served: ServedModel) -> BaseModel:
            name = served.identity.name
            there = [one.identity for one in self._state.residents.all()]
            versions = [str(one.version) for one in there if one.name == name]
            return describe_model(name, versions=versions, classes=len(served.engine.class_names))

        return self._about(request, describe)

    async def ready(self, request: Request) -> Response:
        """``GET /v2/models/NAME/ready``."""
        return self._about(request, lambda one: ModelReady(name=one.identity.name, ready=True))

    def _about(self, request: Request, describe: Callable[[ServedModel], BaseModel]) -> Response:
        try:
            with self._state.residents.lease(*named(request)) as served:
                return json_answer(describe(served))
        except RequestError as error:
            return error_answer(error)


def named(request: Request) -> tuple[str, int | None]:
    """Name and version that a path names.

    Raises:
        UnknownModelError: if the version is no number.
    """
    name, version = request.path_params["name"], request.path_params.get("version")
    if version is None:
        return name, None
    if not _VERSION.fullmatch(version):
        raise UnknownModelError(f"expected a version number, found {version[:100]!r}")
    return name, int(version)


class Infer:
    """``POST /v2/models/NAME/infer``: tensors in, tensors out.

    Args:
        intake: what the requests go through.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def handle(self, request: Request) -> Response:
        """Answer, with the protocol's error if need be."""

        async def work(admitted: Admitted) -> Response:
            with self._lease(request) as served:
                body = await self._intake.read(request, admitted)
                asked = await self._parsed(request, body)
                if asked.timeout_us is None:  # the service's own deadline is kept anyhow
                    return await self._answer(served, asked, admitted, len(body))
                async with in_time(asked.timeout_us / 1e6):
                    return await self._answer(served, asked, admitted, len(body))

        return await self._intake.answered(request, "infer", work, error_answer)

    def _lease(self, request: Request) -> AbstractContextManager[ServedModel]:
        state = self._intake.state
        if not state.residents.all():
            state.require_active()  # says why there is no model at all
        return state.lease(*named(request))

    async def _parsed(self, request: Request, body: bytes) -> InferRequest:
        def parse() -> InferRequest:
            return parse_infer(
                body,
                header_length=request.headers.get(HEADER_LENGTH),
                limits=self._intake.limits,
            )

        return parse() if len(body) <= SMALL_BYTES else await self._intake.in_a_thread(parse)

    async def _answer(
        self, served: ServedModel, asked: InferRequest, admitted: Admitted, size_bytes: int
    ) -> Response:
        intake, engine = self._intake, served.engine
        chosen = chosen_patches(None if asked.patches is None else [asked.patches], engine.patches)

        def decode() -> list[Image]:
            if not isinstance(asked.images, EncodedFiles):
                return list(asked.images.images)
            images: list[Image] = list(decode_images(asked.images.files, intake.limits))
            if len(images) != len(asked.images.files):
                raise BadTensorError(
                    f"expected one image in each BYTES element, found {len(images)} in "
                    f"{len(asked.images.files)}; send an array of several as UINT8"
                )
            return images

        is_encoded = isinstance(asked.images, EncodedFiles)
        answers = await intake.answer(
            *(engine, engine.ask(chosen), admitted, decode),
            raw_bytes=None if is_encoded else size_bytes,
        )

        def respond() -> Response:
            require_finite(answers, engine.identity)
            body, headers = encode_infer(asked, _infer_answer(served, answers))
            return Response(body, headers=headers)

        return await intake.worded(answers, respond)


def _infer_answer(served: ServedModel, answers: Answers) -> InferAnswer:
    return InferAnswer(
        model_name=served.identity.name,
        model_version=str(served.identity.version),
        class_names=answers.class_names,
        scores=answers.scores,
        weak_scores=answers.weak_scores,
        labels=[answers.class_names[label] for label in answers.labels],
        changed_by=[answers.changed_by(row) for row in range(len(answers))],
    )
