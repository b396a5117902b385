"""The model repository extension of the Open Inference Protocol, and MLflow's webhook."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from serving.errors import (
    BadInferRequestError,
    InternalError,
    NotReadyError,
    RequestError,
    UnknownRouteError,
)
from serving.residency.state import ServiceState
from serving.routes.admin import require_admin, require_signature
from serving.routes.body import read_body
from serving.routes.v2 import error_answer
from serving.v2.body import split_body
from serving.v2.fields import Fields
from serving.v2.messages import RepositoryEntry

if TYPE_CHECKING:  # MLflow and torch take seconds to import: /livez answers before they are there
    from serving.residency.repository import Listed, Repository, Which

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_BYTES = 1024 * 1024
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_ENTRIES = TypeAdapter(list[RepositoryEntry])


def repository_routes(state: ServiceState) -> list[Route]:
    """Routes that say what is registered, resident and active, and change it.

    Args:
        state: whose models.
    """
    routes = RepositoryRoutes(state)
    models = "/v2/repository/models/{name}"
    return [
        Route("/v2/repository/index", routes.index, methods=["POST"]),
        Route(f"{models}/load", routes.load, methods=["POST"]),
        Route(f"{models}/unload", routes.unload, methods=["POST"]),
        Route("/webhooks/mlflow", routes.hear_mlflow, methods=["POST"]),
    ]


class RepositoryRoutes:
    """The routes' handlers; the work is done in a thread of its own, one after the other."""

    def __init__(self, state: ServiceState) -> None:
        self._state = state
        self._worker = ThreadPoolExecutor(1, "patchbay-admin")

    async def index(self, request: Request) -> Response:
        """``POST /v2/repository/index``."""

        def work(repository: Repository, body: Fields) -> list[Listed]:
            return repository.index(only_resident=body.truth("ready") or False)

        return await self._answered(request, work)

    async def load(self, request: Request) -> Response:
        """``POST /v2/repository/models/NAME/load``."""

        def work(repository: Repository, body: Fields) -> list[Listed]:
            wishes = _wishes(body)
            pin = wishes.truth("pin") or False
            return repository.load(_which(request.path_params["name"], wishes), pin=pin)

        return await self._answered(request, work)

    async def unload(self, request: Request) -> Response:
        """``POST /v2/repository/models/NAME/unload``."""

        def work(repository: Repository, body: Fields) -> list[Listed]:
            return repository.unload(_which(request.path_params["name"], _wishes(body)))

        return await self._answered(request, work)

    async def hear_mlflow(self, request: Request) -> Response:
        """``POST /webhooks/mlflow``: something was changed there, so look where the alias stands.

        What the message says is not believed, only that it came.
        """
        secret = self._state.settings.webhook_secret
        try:
            if secret is None:
                raise UnknownRouteError("there is no webhook: PATCHBAY_WEBHOOK_SECRET is not set")
            require_signature(request.headers, await self._read(request), secret.get_secret_value())
            if self._state.follower is not None:
                self._state.follower.wake()
        except RequestError as error:
            return error_answer(error)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response(status_code=202)

    async def _answered(
        self, request: Request, work: Callable[[Repository, Fields], list[Listed]]
    ) -> Response:
        token = self._state.settings.admin_token
        try:
            require_admin(request, None if token is None else token.get_secret_value())
            raw = await self._read(request)
            body = split_body(raw, None)[0] if raw.strip() else Fields({}, "the request")
            repository = self._state.repository
            if repository is None:
                raise NotReadyError(self._state.code, self._state.reason, retry_after_seconds=2)
            found = await asyncio.get_running_loop().run_in_executor(
                self._worker, work, repository, body
            )
        except RequestError as error:
            return error_answer(error)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:
            logger.exception("an error of our own while answering %s", request.url.path)
            return error_answer(InternalError("an error of the service's own; see its log"))
        raw = _ENTRIES.dump_json([_entry(one) for one in found])
        return Response(raw, media_type="application/json")

    async def _read(self, request: Request) -> bytes:
        seconds = self._state.settings.body_seconds
        return await read_body(request, max_bytes=_MAX_BYTES, seconds=seconds, held=lambda _: None)


def _wishes(body: Fields) -> Fields:
    """The parameters of a request; what Triton's client calls its config counts among them."""
    parameters = body.fields("parameters")
    config = parameters.text("config")
    if config is None:
        return parameters
    return split_body(config.encode(), None)[0]


def _which(name: str, wishes: Fields) -> Which:
    from serving.residency.repository import Which

    version: Any = wishes.value("version")
    if isinstance(version, str) and _VERSION.fullmatch(version):
        version = int(version)
    if version is not None and (type(version) is not int or not 1 <= version < 10**9):
        raise BadInferRequestError(f"expected a version number, found {str(version)[:100]!r}")
    alias = wishes.text("alias")
    if version is not None and alias is not None:
        raise BadInferRequestError("expected a version or an alias, found both")
    return Which(name, version, alias)


def _entry(one: Listed) -> RepositoryEntry:
    return RepositoryEntry(
        name=one.name,
        version=str(one.version),
        state="READY" if one.is_resident else "UNAVAILABLE",
        reason="" if one.is_resident else "not in memory",
        kind=one.kind,
        active=one.is_active,
        pinned=one.is_pinned,
        resident_bytes=one.resident_bytes,
    )
