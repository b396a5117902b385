"""From settings to an engine that answers, beside a service that runs already."""

from __future__ import annotations

import logging
from threading import Thread

from serving.errors import ModelError, ServingError
from serving.residency.state import ServiceState
from serving.telemetry import Telemetry

logger = logging.getLogger(__name__)


def start_loading(state: ServiceState, telemetry: Telemetry) -> Thread:
    """Load the model in a thread of its own, so that ``/livez`` answers meanwhile.

    The thread doesn't hold up the end of the process.
    """
    thread = Thread(target=load_into, args=(state, telemetry), name="patchbay-loader", daemon=True)
    thread.start()
    return thread


def load_into(state: ServiceState, telemetry: Telemetry) -> None:
    """Load the model that the state's settings name; activate it, or note why not."""
    uri = state.settings.model_uri
    try:
        _load(state, telemetry)
    except ModelError as error:
        logger.warning("no model is served: %s", error)
        state.fail(error.code, str(error))
    except ServingError as error:
        logger.error("no model is served: %s", error)
        state.fail("load_failed", str(error))
    except Exception as error:  # whatever it is, the service stays up and says so
        expected = _is_expected(error)
        logger.error("%s can't be loaded: %s", uri, error, exc_info=not expected)
        reason = str(error) if expected else f"{type(error).__name__}: {error}"
        state.fail("load_failed", f"{uri} can't be loaded: {reason}")
    else:
        logger.info("serving %s", state.engine().identity.uri)


def _load(state: ServiceState, telemetry: Telemetry) -> None:
    settings = state.settings
    if settings.model_uri is None:
        raise ModelError(
            "no_model",
            "PATCHBAY_MODEL_URI is not set; set it to a registered patched model, such as "
            "models:/name@champion, and start the service again",
        )
    import torch  # here, not above: it takes seconds, and the process should answer before

    from serving.engine.batcher import Batcher
    from serving.engine.engine import Engine
    from serving.engine.executor import choose_executor
    from serving.residency.model_source import load_model

    torch.set_num_threads(settings.threads)
    executor = choose_executor(settings.device)
    found = load_model(settings.model_uri)
    engine = Engine(found.model, identity=found.identity, executor=executor, modules=found.modules)
    engine.warm_up()
    batcher = Batcher(
        max_images=settings.batch_size,
        wait_seconds=settings.batch_wait_ms / 1000,
        report=telemetry.count_batch,
    )
    state.activate(engine, batcher)


def _is_expected(error: Exception) -> bool:
    """Whether the message was written for a user, so that no traceback is needed."""
    from modularizer.errors import ModularizerError
    from registry.errors import RegistryError

    return isinstance(error, ModularizerError | RegistryError)
