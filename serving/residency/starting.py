"""From settings to a model that answers and is followed, beside a service that runs already."""

from __future__ import annotations

import logging
from functools import partial
from threading import Thread

from serving.errors import ModelError, ServingError
from serving.residency.following import Follower
from serving.residency.state import ServiceState
from serving.telemetry import Telemetry

logger = logging.getLogger(__name__)


def start_following(state: ServiceState, telemetry: Telemetry) -> Thread:
    """Load the model that the settings name and follow it, beside a service that runs already.

    Imports what takes seconds in a thread of its own, so that ``/livez`` answers meanwhile; gives
    that thread, which ends when the follower has begun.
    """

    def begin() -> None:
        try:
            follower = open_models(state, telemetry)
        except ServingError as error:
            logger.error("no model is served: %s", error)
            state.fail(getattr(error, "code", "load_failed"), str(error))
        except Exception as error:
            logger.exception("no model is served")
            state.fail("load_failed", f"{type(error).__name__}: {error}")
        else:
            follower.start()

    thread = Thread(target=begin, name="patchbay-starter", daemon=True)
    thread.start()
    return thread


def open_models(state: ServiceState, telemetry: Telemetry) -> Follower:
    """Give a state all that it needs to have models, and what follows its address.

    Raises:
        ModelError: if there is neither an address nor an archive.
        SettingsError: if the device isn't there.
    """
    settings = state.settings
    if settings.model_uri is None and settings.archive is None:
        raise ModelError(
            "no_model",
            "PATCHBAY_MODEL_URI is not set; set it to a registered patched model, such as "
            "models:/name@champion, or PATCHBAY_ARCHIVE to a file of patchbay export, and start "
            "the service again",
        )
    import torch  # here, not above: it takes seconds, and the process should answer before

    from serving.engine.batcher import Batcher
    from serving.engine.executors.choosing import possible_executors
    from serving.engine.packing import place
    from serving.residency.building import Builder
    from serving.residency.parts import PartCache
    from serving.residency.repository import Repository

    torch.set_num_threads(settings.threads)
    torch.backends.cudnn.allow_tf32 = settings.precision == "tf32"  # unasked, it would use it
    executors = possible_executors(
        settings.device, batch_size=settings.batch_size, precision=settings.precision
    )
    parts = PartCache(
        settings.memory_bytes,
        place=partial(place, device=executors[0].device),
        changed=telemetry.note_parts,
    )
    state.open(
        Batcher(
            max_images=settings.batch_size,
            wait_seconds=settings.batch_wait_ms / 1000,
            report=telemetry.count_batch,
        )
    )
    builder = Builder(parts, executors)
    follower = Follower(state, builder, telemetry)
    state.follower, state.repository = follower, Repository(state, follower, builder, parts)
    return follower
