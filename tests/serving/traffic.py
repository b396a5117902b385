"""Clients of a real service, each of whose answers is compared with that of its version."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

import httpx
import numpy as np
from numpy.typing import NDArray

from modularizer.classifier import predict
from registry.registry import Registry
from serving.client import PredictClient, npy_bytes
from serving.errors import ClientError
from serving.launch import RunningService
from tests.serving.samples import random_images
from tests.waiting import PATIENCE_SECONDS, wait_until

IMAGES = random_images(40, 8, 8, 1)

Offline = dict[str, NDArray[np.float32]]


def answers_offline(home: Path, *, versions: Sequence[int] = (1, 2)) -> Offline:
    """What versions of ``served`` answer for `IMAGES`, by their addresses."""
    registry = Registry.open(home)
    uris = [f"models:/served/{version}" for version in versions]
    return {uri: predict(registry.load_patched(uri), IMAGES) for uri in uris}


@dataclass
class Traffic:
    """Clients that ask until they are told to stop, and compare what they hear.

    Attributes:
        answers: by the version that was named.
        wrong: what was not the answer of the version that it named.
        refused: errors, and no answers at all; of the first also the end of the service's log.
    """

    service: RunningService
    offline: Offline
    clients: int = 4
    pause_seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Traffic:
        self._threads = [
            threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join()

    def require_faultless(self) -> None:
        """Every request was answered, and rightly."""
        assert self.wrong == []
        assert self.refused == []
        assert self.answers

    def wait_for_answers(self, count: int = 3, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until so many more were answered."""
        wanted = self.answers.total() + count
        wait_until(lambda: self.answers.total() >= wanted, f"{count} answers", seconds)

    def _ask(self, number: int) -> None:
        with PredictClient(self.service.url, timeout_seconds=PATIENCE_SECONDS) as client:
            while not self.is_over.wait(self.pause_seconds):
                number = (number + 1) % len(IMAGES)
                try:
                    response = client.predict(npy_bytes(IMAGES[number])).response
                except ClientError as error:
                    log = "" if self.refused else f"\n{self.service.log_tail()}"
                    self.refused.append(f"{error}{log}")
                    sleep(0.05)
                    continue
                uri = response.model.uri
                found = list(response.predictions[0].scores.values())
                if not np.allclose(found, self.offline[uri][number], atol=1e-5):
                    self.wrong.append(f"{uri} on image {number}: {found}")
                self.answers[uri] += 1


def serving(service: RunningService) -> str:
    """The version that a service says is active."""
    response = httpx.get(service.url + "/readyz", trust_env=False, timeout=PATIENCE_SECONDS)
    assert response.status_code == 200
    return str(response.json()["model"]["uri"])


def wait_for(service: RunningService, uri: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a version is the active one."""
    wait_until(lambda: serving(service) == uri, f"{uri} is served", seconds)


def reloads(service: RunningService, outcome: str) -> int:
    """How many looks at the alias came to this."""
    status = httpx.get(service.url + "/status", trust_env=False, timeout=PATIENCE_SECONDS).json()
    return int(status["reloads"].get(outcome, 0))
