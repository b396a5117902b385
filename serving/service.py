"""The BentoML service: one process, one device, one patched model."""

from __future__ import annotations

import os

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
os.environ.setdefault("PROMETHEUS_DISABLE_CREATED_SERIES", "True")  # twice the lines, no news

# BentoML would have prometheus_client keep every number in a file, to be added up over workers.
# There is one, and /metrics is ours: a number in memory costs a fraction.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

import bentoml
from bentoml._internal.configuration.containers import BentoMLContainer
from uvicorn.config import HTTP_PROTOCOLS

from serving.carried import with_carried
from serving.connection import BoundedConnection
from serving.errors import SettingsError
from serving.logs import configure_logging
from serving.residency.starting import start_following
from serving.residency.state import LOADING, ServiceState
from serving.routes.app import create_app, image_routes
from serving.routes.door import Door
from serving.routes.intake import Intake
from serving.routes.odd_paths import OddPaths
from serving.routes.readiness import Readiness
from serving.settings import Settings
from serving.supervision import end_without_supervisor
from serving.telemetry import Telemetry


def state_from_environment() -> ServiceState:
    """The state to start with; settings that can't be used are its reason not to be ready."""
    try:
        return ServiceState(with_carried(Settings.from_environment(os.environ)))
    except SettingsError as error:
        return ServiceState(Settings(), code="bad_settings", reason=str(error))


def bentoml_has_a_say() -> bool:
    """Whether BentoML's configuration asks it for something that only its application does.

    That is to answer other sites' pages, or to let only so many requests in at a time.
    """
    ours = BentoMLContainer.config.services.get().get("patchbay") or {}
    traffic = ours.get("traffic") or {}
    return bool(BentoMLContainer.http.cors.enabled.get() or traffic.get("max_concurrency"))


# BentoML leaves the choice to uvicorn and has no setting for it.
HTTP_PROTOCOLS["auto"] = "serving.connection:BoundedConnection"

state = state_from_environment()
telemetry = Telemetry()
intake = Intake(state, telemetry)


class Patchbay:
    """Answers with a patched image classifier: POST /predict."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def load(self) -> None:
        """Begin to load the model; ``/readyz`` says when it is there."""
        configure_logging(state.settings.log_level)
        end_without_supervisor()
        if not bentoml_has_a_say():
            BoundedConnection.door = Door(intake, image_routes(intake))
        if state.code == LOADING:
            start_following(state, telemetry)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Let go of the models."""
        state.close()


# BentoML's own timeout can't be switched off, and each request leaves a timer of a kilobyte that
# runs to its end: so it is no longer than our deadline needs to answer first.
# Its metrics and its access log tell what ours do, and its spans, two a request, are exported to
# nobody and kept until that timer ends: without all of these a request costs a third.
PatchbayService = bentoml.service(
    name="patchbay",
    workers=1,
    traffic={"timeout": state.settings.deadline_seconds + 5},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)(Patchbay)

PatchbayService.add_asgi_middleware(Readiness, state=state)
PatchbayService.add_asgi_middleware(OddPaths)

# A bound method rather than the application: BentoML looks into an application for its routes
# and answers all others by itself, with a page of its own at / among them.
PatchbayService.mount_asgi_app(create_app(intake).__call__, path="/", name="patchbay")
