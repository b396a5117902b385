"""``POST /predict``: images in, a prediction for each out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from serving.decoding.arrays import MAGIC as NPY_MAGIC
from serving.decoding.images import decode_images
from serving.errors import NonFiniteScoresError
from serving.protocol import ModelIdentity, PatchExplanation, Prediction, PredictResponse
from serving.routes.admission import Admitted
from serving.routes.body import split_files
from serving.routes.intake import Intake, in_time
from serving.routes.query import PredictQuery, chosen_patches, parse_query
from serving.routes.responses import json_answer, refusal

if TYPE_CHECKING:  # torch takes seconds to import: /livez answers before it is there
    from serving.engine.answers import Answers
    from serving.engine.engine import Engine


class Predict:
    """``POST /predict``: files in, a prediction for each image out.

    Args:
        intake: what the requests go through.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def __call__(self, request: Request) -> Response:
        """Answer, with an error's JSON if need be."""

        async def work(admitted: Admitted) -> Response:
            query = parse_query(request.scope["query_string"].decode("latin-1"))
            if query.timeout_ms is None:  # the service's own deadline is kept anyhow
                return await self._answer(request, query, admitted)
            async with in_time(query.timeout_ms / 1000):
                return await self._answer(request, query, admitted)

        return await self._intake.answered(request, "predict", work, refusal)

    async def _answer(self, request: Request, query: PredictQuery, admitted: Admitted) -> Response:
        intake = self._intake
        with intake.state.lease() as served:
            engine = served.engine
            ask = engine.ask(chosen_patches(query.patches, engine.patches), explain=query.explain)
            body = await intake.read(request, admitted)
            files = await split_files(request, body, max_files=intake.limits.max_images)
            is_raw = all(file.startswith(NPY_MAGIC) for file in files)
            answers = await intake.answer(
                engine,
                ask,
                admitted,
                lambda: decode_images(files, intake.limits),
                raw_bytes=len(body) if is_raw else None,
            )
            return await intake.worded(
                answers, lambda: json_answer(predict_response(engine, answers), exclude_none=True)
            )


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
