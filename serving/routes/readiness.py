"""``/readyz`` with a reason."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import NotReadyError
from serving.protocol import ReadyResponse
from serving.residency.state import ServiceState
from serving.routes.responses import error_answer, json_answer, refusal


class Readiness:
    """Answers ``/readyz`` itself and hands every other request on.

    BentoML's own route answers in plain text, without a reason, and is matched before any route
    that is mounted.
    """

    def __init__(self, app: ASGIApp, state: ServiceState) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on."""
        if scope["type"] != "http" or scope["path"] != "/readyz":
            await self.app(scope, receive, send)
            return
        await self._answer(scope["method"])(scope, receive, send)

    def _answer(self, method: str) -> Response:
        if method not in ("GET", "HEAD"):
            allow = {"Allow": "GET, HEAD"}
            return error_answer(405, "method_not_allowed", "this route takes GET only", allow)
        try:
            active = self.state.require_active()
        except NotReadyError as error:
            return refusal(error)
        return json_answer(
            ReadyResponse(ready=True, model=active.identity, from_cache=active.from_cache)
        )
