"""Whether a service has a model to answer with, and if not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.errors import NotReadyError
from serving.settings import Settings

if TYPE_CHECKING:  # torch takes seconds to import: /livez answers before it is there
    from serving.engine.batcher import Batcher
    from serving.engine.engine import Engine

LOADING = "loading"

_RETRY_WHILE_LOADING_SECONDS = 2
_RETRY_SECONDS = 30


class ServiceState:
    """Shared by the routes (which read) and by who loads the model (who writes).

    Args:
        settings: the service's.
        code: of the error that a request gets until there is an engine.
        reason: its message.
    """

    def __init__(
        self, settings: Settings, *, code: str = LOADING, reason: str = "the model is being loaded"
    ) -> None:
        self.settings = settings
        self._engine: Engine | None = None
        self._batcher: Batcher | None = None
        self._code = code
        self._reason = reason

    @property
    def code(self) -> str:
        """Why there is no engine, in one word; "loading" while that may still change."""
        return self._code

    def activate(self, engine: Engine, batcher: Batcher) -> None:
        """From now on requests are answered by ``engine``, in the batches of ``batcher``."""
        self._engine, self._batcher = engine, batcher

    def fail(self, code: str, reason: str) -> None:
        """There won't be an engine; say why."""
        self._code, self._reason = code, reason

    def close(self) -> None:
        """Let go of the engine."""
        if self._batcher is not None:
            self._batcher.close()
        self._engine = None
        self.fail("stopping", "the service is stopping")

    @property
    def batcher(self) -> Batcher:
        """Where requests to the engine wait; there is one where there is an engine."""
        assert self._batcher is not None
        return self._batcher

    def engine(self) -> Engine:
        """The engine that answers.

        Raises:
            NotReadyError: if there is none; says why.
        """
        if self._engine is None:
            loading = self._code == LOADING
            raise NotReadyError(
                self._code,
                self._reason,
                retry_after_seconds=_RETRY_WHILE_LOADING_SECONDS if loading else _RETRY_SECONDS,
            )
        return self._engine
