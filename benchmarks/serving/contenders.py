"""The other servers: how each gets the model, and what it is asked with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from benchmarks.serving.payloads import Payload, mlflow_payloads, plain_payloads
from benchmarks.serving.peer import Peer
from benchmarks.serving.peers import mlflow_server, module_server
from benchmarks.serving.subject import Subject
from registry.registry import Registry
from serving.pyfunc import answer_columns


class Serve(Protocol):
    """Starts a server of an exported model; see `benchmarks.serving.peers`."""

    def __call__(
        self, model: Path, scratch: Path, *, core: int | None
    ) -> AbstractContextManager[Peer]:
        """The server, which ends with the block."""


def _export_pyfunc(registry: Registry, uri: str, target: Path) -> None:
    columns = answer_columns(patched=True)
    registry.exchange.export_pyfunc(uri, target, loader="serving.pyfunc", columns=columns)


def _export_archive(registry: Registry, uri: str, target: Path) -> None:
    registry.exchange.export_archive(uri, target)


@dataclass(frozen=True)
class Contender:
    """A server that is measured beside the service.

    Attributes:
        export: writes a registered model where the server can read it.
        serve: starts it.
        payloads: the forms of request that it takes, of which the fastest is compared.
    """

    export: Callable[[Registry, str, Path], None]
    serve: Serve
    payloads: Callable[[Subject], dict[str, Payload]]

    @contextmanager
    def serving(
        self, registry: Registry, subject: Subject, scratch: Path, *, core: int | None
    ) -> Iterator[Peer]:
        """The server of a registered model.

        Args:
            registry: where the model is.
            subject: the model.
            scratch: a folder that is not there yet.
            core: the server runs there alone.

        Raises:
            LaunchError: if it does not become ready.
        """
        scratch.mkdir(parents=True)
        model = scratch / "model"
        self.export(registry, subject.uri, model)
        with self.serve(model, scratch, core=core) as peer:
            yield peer


CONTENDERS = {
    "mlflow": Contender(_export_pyfunc, mlflow_server, mlflow_payloads),
    "starlette": Contender(
        _export_archive, partial(module_server, "starlette_server"), plain_payloads
    ),
    "litserve": Contender(
        _export_archive, partial(module_server, "litserve_server"), plain_payloads
    ),
}
"""By the name of the package that each needs: `benchmarks.serving.settings.PEERS`."""


def is_installed(name: str) -> bool:
    """Whether a contender's package is there: litserve is for development only."""
    return find_spec(name) is not None
