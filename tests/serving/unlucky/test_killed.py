"""Processes of the service that are killed."""

from __future__ import annotations

from time import monotonic, sleep

import psutil  # type: ignore[import-untyped]
import pytest

from serving.launch import RunningService, require_free_port, running_service
from serving.settings import Settings
from tests.serving.traffic import Traffic, answers_offline
from tests.serving.unlucky.conftest import ready

pytestmark = pytest.mark.slow


def worker_of(service: RunningService) -> psutil.Process:
    [worker] = psutil.Process(service.process.pid).children()
    return worker


@pytest.mark.timed
def test_a_killed_worker_is_back_within_its_start_time(settings: Settings) -> None:
    assert settings.home is not None
    offline = answers_offline(settings.home)
    began = monotonic()
    with running_service(settings) as service:
        start_seconds = monotonic() - began
        for _ in range(2):
            worker = worker_of(service)
            with Traffic(service, offline) as traffic:
                traffic.wait_for_answers(50)
                killed = monotonic()
                worker.kill()
                while (answer := ready(service, seconds=2)) is None or answer.status_code != 200:
                    assert monotonic() - killed < 2 * start_seconds + 20
                    sleep(0.1)
                traffic.wait_for_answers(50)
            assert worker_of(service).pid != worker.pid
            assert traffic.wrong == []
            # Connections break or wait; while the model is loaded, it is told that it is.
            kinds = {one.partition(":")[0].split(" from ")[0] for one in traffic.refused}
            assert kinds <= {"no answer", "503 loading"}
            assert "no answer" in kinds


def test_the_worker_goes_when_nobody_would_start_it_anew(settings: Settings) -> None:
    with running_service(settings) as service:
        worker = worker_of(service)
        service.process.kill()
        assert service.wait() != 0
        worker.wait(60)
        host, port = service.url.removeprefix("http://").split(":")
        require_free_port(host, int(port))
