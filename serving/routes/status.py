"""``GET /model`` and ``GET /status``: what answers, and what it has done."""

from __future__ import annotations

from time import monotonic

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.errors import NotReadyError
from serving.protocol import StatusResponse
from serving.routes.intake import Intake
from serving.routes.responses import error_answer, json_answer

_FRESH = {"Cache-Control": "no-store"}


class Status:
    """Tells of the active model and of this process.

    Args:
        intake: what requests with images go through.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._began = monotonic()

    def routes(self) -> list[Route]:
        """Both."""
        return [
            Route("/model", self.model, methods=["GET"]),
            Route("/status", self.status, methods=["GET"]),
        ]

    async def model(self, _: Request) -> Response:
        """``GET /model``: a `serving.protocol.ModelDescription`, or why there is no model."""
        try:
            active = self._intake.state.require_active()
        except NotReadyError as error:
            headers = {**error.headers, **_FRESH}
            return error_answer(error.status, error.code, str(error), headers)
        description = active.description.model_copy(update={"from_cache": active.from_cache})
        return json_answer(description, headers=_FRESH)

    async def status(self, _: Request) -> Response:
        """``GET /status``: a `serving.protocol.StatusResponse`."""
        telemetry, active = self._intake.telemetry, self._intake.state.residents.active
        requests: dict[str, dict[str, int]] = {}
        for (outcome, route), count in telemetry.totals(telemetry.requests).items():
            requests.setdefault(route, {})[outcome] = count
        message = StatusResponse(
            seconds_since_start=monotonic() - self._began,
            requests=requests,
            images=telemetry.totals(telemetry.images)[()],
            changed_answers={
                patch: count for (patch,), count in telemetry.totals(telemetry.changed).items()
            },
            images_waiting=self._intake.admission.images,
            reloads={
                outcome: count for (outcome,), count in telemetry.totals(telemetry.reloads).items()
            },
            model=None if active is None else active.identity,
            digest=None if active is None else active.digest,
            from_cache=None if active is None else active.from_cache,
        )
        return json_answer(message, headers=_FRESH)
