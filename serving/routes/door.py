"""Requests with images, taken straight from the server to their route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.routes.intake import ErrorAnswer, Intake


@dataclass(frozen=True)
class ImageRoute:
    """A route that images are sent to.

    Attributes:
        name: what its requests are counted under.
        route: its endpoint takes a `starlette.requests.Request` and raises nothing.
        error_answer: an error in the words of its protocol.
    """

    name: str
    route: Route
    error_answer: ErrorAnswer


class Door:
    """Takes what asks for these routes past BentoML's application, whose layers cost time.

    Every request would get a task there, and a timer that runs to its end long after the answer,
    and pass two applications. Nothing of that is needed: these routes have their own deadline,
    their own metrics and log, and raise nothing. They are mounted all the same, for servers that
    have no such door. Where there is no room, even a task is too much: of many requests that are
    refused each costs time that answers lack.

    Args:
        intake: says whether there is room.
        routes: those of `serving.routes.app.image_routes`.
    """

    def __init__(self, intake: Intake, routes: Sequence[ImageRoute]) -> None:
        self._intake = intake
        self._routes = routes

    def __call__(self, scope: Scope, app: ASGIApp) -> ASGIApp | Response:
        """Who answers: a route's endpoint, or the application; or that there is no room."""
        if scope["method"] != "POST" or "\n" in scope["path"]:
            return app
        for one in self._routes:
            match, found = one.route.matches(scope)
            if match is Match.FULL:
                refusal = self._intake.refused(scope, one.name, one.error_answer)
                return _straight_to(one.route, found) if refusal is None else refusal
        return app


def _straight_to(route: Route, found: Scope) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        scope.update(found)
        response = await route.endpoint(Request(scope, receive))
        await response(scope, receive, send)

    return answer
