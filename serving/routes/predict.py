"""``POST /predict``: images in, a prediction for each out."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from serving.decoding.images import decode_images
from serving.decoding.limits import ImageLimits
from serving.errors import DeadlineError, NonFiniteScoresError, RequestError
from serving.protocol import ModelIdentity, PatchExplanation, Prediction, PredictResponse
from serving.residency.state import ServiceState
from serving.routes.admission import Admission, Admitted
from serving.routes.body import read_body, split_files
from serving.routes.query import PredictQuery, chosen_patches, parse_query
from serving.routes.responses import error_answer, json_answer
from serving.telemetry import Telemetry

if TYPE_CHECKING:
    from serving.engine.answers import Answers
    from serving.engine.engine import Engine
    from serving.engine.prepared import Prepared

logger = logging.getLogger(__name__)


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
        self.admission = Admission(max_images=settings.queue_images, max_bytes=settings.queue_bytes)
        self.decoders = ThreadPoolExecutor(settings.decode_threads, "patchbay-decode")

    async def __call__(self, request: Request) -> Response:
        """Answer, with an error's JSON if need be: nothing is raised past this point.

        An error that got as far as the server would end the connection of a client who may
        have other requests to send.
        """
        try:
            with self.admission.admit() as admitted:
                response = await self._in_time(request, admitted)
            outcome = "ok"
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

    async def _in_time(self, request: Request, admitted: Admitted) -> Response:
        query = parse_query(request.scope["query_string"].decode("latin-1"))
        seconds = self.state.settings.deadline_seconds
        if query.timeout_ms is not None:
            seconds = min(seconds, query.timeout_ms / 1000)
        try:
            async with asyncio.timeout(seconds):
                return await self._answer(request, query, admitted)
        except TimeoutError as error:
            raise DeadlineError(f"there was no answer within {seconds:g} seconds") from error

    async def _answer(self, request: Request, query: PredictQuery, admitted: Admitted) -> Response:
        with self.state.lease() as served:
            return await self._answer_with(served.engine, request, query, admitted)

    async def _answer_with(
        self, engine: Engine, request: Request, query: PredictQuery, admitted: Admitted
    ) -> Response:
        settings = self.state.settings
        ask = engine.ask(chosen_patches(query.patches, engine.patches), explain=query.explain)
        with self.telemetry.timed("read"):
            body = await read_body(
                request,
                max_bytes=settings.max_body_bytes,
                seconds=settings.body_seconds,
                held=admitted.count_bytes,
            )
            files = await split_files(request, body, max_files=settings.max_images)

        def prepare() -> Prepared:
            return engine.prepare(decode_images(files, self.limits), ask)

        with self.telemetry.timed("decode"):
            prepared = await asyncio.get_running_loop().run_in_executor(self.decoders, prepare)
        admitted.count_images(len(prepared))
        answers = await self.state.batcher.submit(engine, prepared)
        with self.telemetry.timed("answer"):
            message = predict_response(engine, answers)
            self.telemetry.count_answers(message.predictions)
            return json_answer(message)


def predict_response(engine: Engine, answers: Answers) -> PredictResponse:
    """Answers as `serving.protocol` words them.

    Raises:
        NonFiniteScoresError: if a score of any of the images is NaN or infinite.
    """
    require_finite(answers, engine.identity)
    return PredictResponse(
        model=engine.identity,
        patches=answers.patches,
        predictions=tuple(_prediction(engine, answers, row) for row in range(len(answers))),
    )


def require_finite(answers: Answers, identity: ModelIdentity) -> None:
    """Refuse to give out scores that are no numbers.

    Raises:
        NonFiniteScoresError: with the number of the first image, from 1.
    """
    if not answers.finite.all():
        raise NonFiniteScoresError(
            f"the model {identity.uri} gives NaN or infinite scores for image "
            f"{int(answers.finite.argmin()) + 1}"
        )


def _prediction(engine: Engine, answers: Answers, row: int) -> Prediction:
    names = answers.class_names
    scores, weak_scores = answers.scores[row], answers.weak_scores[row]
    return Prediction(
        label=names[scores.argmax()],
        scores=dict(zip(names, scores.tolist(), strict=True)),
        weak_label=names[weak_scores.argmax()],
        weak_scores=dict(zip(names, weak_scores.tolist(), strict=True)),
        changed_by=answers.changed_by(row),
        explanations=_explanations(engine, answers, row),
    )


def _explanations(
    engine: Engine, answers: Answers, row: int
) -> tuple[PatchExplanation, ...] | None:
    if answers.without is None:
        return None
    names, modules = answers.class_names, dict(zip(engine.patches, engine.modules, strict=True))
    found = []
    for place, name in enumerate(answers.patches):
        column = names.index(name)
        found.append(
            PatchExplanation(
                patch=name,
                module=modules[name],
                module_score=float(answers.raw[row, place]),
                weak_score=float(answers.weak_scores[row, column]),
                score=float(answers.scores[row, column]),
                without=names[answers.without[row, place]],
            )
        )
    return tuple(found)
