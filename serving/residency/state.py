"""Whether a service has a model to answer with, and if not, why."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from serving.errors import NotReadyError
from serving.residency.served import Residents, ServedModel
from serving.settings import Settings

if TYPE_CHECKING:  # torch takes seconds to import: /livez answers before it is there
    from serving.engine.batcher import Batcher
    from serving.residency.following import Follower
    from serving.residency.repository import Repository

LOADING = "loading"

_RETRY_WHILE_LOADING_SECONDS = 2
_RETRY_SECONDS = 30


class ServiceState:
    """Shared by the routes (which read) and by who loads models (who writes).

    Args:
        settings: the service's.
        code: of the error that a request gets while no model is active.
        reason: its message.

    Attributes:
        residents: the models in memory.
        follower: what keeps the active one up to date; None before there is one.
        repository: brings models in and out; None before there is one.
    """

    def __init__(
        self, settings: Settings, *, code: str = LOADING, reason: str = "the model is being loaded"
    ) -> None:
        self.settings = settings
        self.residents = Residents()
        self.follower: Follower | None = None
        self.repository: Repository | None = None
        self._batcher: Batcher | None = None
        self._code = code
        self._reason = reason

    @property
    def code(self) -> str:
        """Why no model is active, in one word; "loading" while that may still change."""
        return self._code

    @property
    def reason(self) -> str:
        """Why no model is active, for people."""
        return self._reason

    def open(self, batcher: Batcher) -> None:
        """Requests to models wait in this one from now on."""
        self._batcher = batcher

    @property
    def batcher(self) -> Batcher:
        """Where requests wait; there is one where there is a model."""
        assert self._batcher is not None
        return self._batcher

    def fail(self, code: str, reason: str) -> None:
        """Why there is no active model, for as long as there is none."""
        self._code, self._reason = code, reason

    def close(self) -> None:
        """Let go of every model."""
        if self.follower is not None:
            self.follower.stop()
        self.fail("stopping", "the service is stopping")
        self.residents.clear()
        if self._batcher is not None:
            self._batcher.close()

    def require_active(self) -> ServedModel:
        """The model that answers where no other is named.

        Raises:
            NotReadyError: if there is none; says why.
        """
        active = self.residents.active
        if active is None:
            loading = self._code == LOADING
            raise NotReadyError(
                self._code,
                self._reason,
                retry_after_seconds=_RETRY_WHILE_LOADING_SECONDS if loading else _RETRY_SECONDS,
            )
        return active

    def lease(
        self, name: str | None = None, version: int | None = None
    ) -> AbstractContextManager[ServedModel]:
        """Use a model until the block ends; see `Residents.lease`.

        Raises:
            NotReadyError: if no name is given and no model is active; says why.
            UnknownModelError: if there is no such model in memory.
        """
        if name is None:
            self.require_active()
        return self.residents.lease(name, version)
