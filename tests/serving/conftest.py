"""Real services, started once for all tests that need one."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.launch import RunningService, running_service
from serving.logs import configure_logging
from serving.settings import Settings
from tests.serving.samples import register_patched


@pytest.fixture(scope="session")
def service_without_model() -> Iterator[RunningService]:
    with running_service(Settings(device="cpu"), must_be_ready=False) as service:
        yield service


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with one patched model, ``models:/served/1``, and its weak ``models:/weak/1``."""
    home = tmp_path_factory.mktemp("serving-home")
    register_patched(home)
    return home


@pytest.fixture(scope="session")
def service(home: Path) -> Iterator[RunningService]:
    settings = Settings(model_uri="models:/served@champion", home=home, device="cpu")
    with running_service(settings) as running:
        yield running


@pytest.fixture
def log_stream() -> Iterator[io.StringIO]:
    """Where a log of all levels goes; afterwards loggers are as they were."""
    names = ("serving", "registry", "modularizer")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one.handlers, one.level, one.propagate) for one in loggers]
    found = io.StringIO()
    configure_logging("debug", found)
    yield found
    for one, (handlers, level, propagate) in zip(loggers, before, strict=True):
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)
