"""Paths that are none of ours, however they are written."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.routes.responses import error_answer, json_answer
from serving.v2.messages import ErrorMessage

NO_ROUTE = "there is no such route; GET / lists them"


def no_route(path: str) -> Response:
    """The answer where there is nothing, in the words of the protocol that was meant."""
    if path.startswith("/v2"):
        return json_answer(ErrorMessage(error=NO_ROUTE), status=404)
    return error_answer(404, "not_found", NO_ROUTE)


class OddPaths:
    """Answers requests for paths with a line break, or without a slash in front.

    BentoML's router hands neither on to what is mounted at /, and answers them in plain text.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on."""
        if scope["type"] == "http" and ("\n" in scope["path"] or scope["path"][:1] != "/"):
            await no_route(scope["path"])(scope, receive, send)
            return
        await self.app(scope, receive, send)
