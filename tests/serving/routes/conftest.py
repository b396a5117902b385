"""The application in this process, its networks behind a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.engine.batcher import Batcher
from serving.residency.state import ServiceState
from serving.routes.app import create_app
from serving.routes.intake import Intake
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.serving.engine.test_batcher import Gate
from tests.serving.samples import make_served

SETTINGS = Settings(queue_images=6, queue_bytes=4000, deadline_seconds=120, max_images=50)


class Service:
    """The application with one model, ``digits`` version 3."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.gate = Gate()
        self.gate.is_open.set()
        self.telemetry = Telemetry()
        self.state = ServiceState(settings)
        self.state.open(Batcher(report=self.telemetry.count_batch))
        self.state.residents.activate(make_served(executor=self.gate))
        self.intake = Intake(self.state, self.telemetry)
        self.app = create_app(self.intake)

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def predict(self, content: bytes, query: str = "") -> httpx.Response:
        return self.ask("POST", f"/predict{query}", content=content)

    def outcomes(self, outcome: str, route: str = "predict") -> float:
        labels = {"outcome": outcome, "route": route}
        return self.telemetry.registry.get_sample_value("patchbay_requests_total", labels) or 0

    def close(self) -> None:
        self.gate.is_open.set()
        self.state.close()


@pytest.fixture
def gated() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()
