"""The routes of the repository extension: who may, and what can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from serving.residency.repository import Listed, Repository, Which
from serving.settings import Settings
from tests.serving.routes.conftest import Service
from tests.serving.routes.test_admin import SECRET, TOKEN, signed

LOCAL = {"host": "localhost"}
LOAD = "/v2/repository/models/digits/load"


class Noted(Repository):
    """Notes what it is asked, and has one model."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def index(self, *, only_resident: bool) -> list[Listed]:
        self.asked.append(only_resident)
        return [Listed("digits", 3, "patched", is_resident=True, is_active=True)]

    def load(self, which: Which, *, pin: bool = False) -> list[Listed]:
        self.asked.append((which, pin))
        return [Listed(which.name, which.version or 1, "patched", is_resident=True, is_pinned=pin)]

    def unload(self, which: Which) -> list[Listed]:
        self.asked.append(which)
        return [Listed(which.name, which.version or 1, "patched", is_resident=False)]


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def service(gated: Service, noted: Noted) -> Service:
    gated.state.repository = noted
    return gated


@pytest.fixture
def guarded(noted: Noted) -> Iterator[Service]:
    made = Service(Settings(admin_token=SecretStr(TOKEN), webhook_secret=SecretStr(SECRET)))
    made.state.repository = noted
    yield made
    made.close()


def test_the_index_is_the_protocol_s_with_more(service: Service, noted: Noted) -> None:
    for content, only_resident in ((b"", False), (b'{"ready": true}', True)):
        response = service.ask("POST", "/v2/repository/index", content=content, headers=LOCAL)
        assert response.json() == [
            {
                "name": "digits",
                "version": "3",
                "state": "READY",
                "reason": "",
                "kind": "patched",
                "active": True,
                "pinned": False,
                "resident_bytes": 0,
            }
        ]
        assert noted.asked.pop() is only_resident


@pytest.mark.parametrize(
    ("body", "which", "pin"),
    [
        (b"", Which("digits"), False),
        (b"{}", Which("digits"), False),
        (b'{"parameters": {"version": 2}}', Which("digits", version=2), False),
        (b'{"parameters": {"version": "2", "pin": true}}', Which("digits", version=2), True),
        (b'{"parameters": {"alias": "challenger"}}', Which("digits", alias="challenger"), False),
        (b'{"parameters": {"config": "{\\"version\\": 7}"}}', Which("digits", version=7), False),
        (b'{"parameters": {"unload_dependents": false}}', Which("digits"), False),
    ],
)
def test_what_is_to_be_loaded_is_read(
    service: Service, noted: Noted, body: bytes, which: Which, *, pin: bool
) -> None:
    response = service.ask("POST", LOAD, content=body, headers=LOCAL)
    assert response.status_code == 200
    assert noted.asked == [(which, pin)]
    response = service.ask("POST", LOAD.replace("load", "unload"), content=body, headers=LOCAL)
    assert response.json()[0]["state"] == "UNAVAILABLE"
    assert noted.asked[1] == which


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"parameters": []}',
        b'{"parameters": {"version": 0}}',
        b'{"parameters": {"version": true}}',
        b'{"parameters": {"version": "latest"}}',
        b'{"parameters": {"version": 1, "alias": "a"}}',
        b'{"parameters": {"config": "{"}}',
        b'{"parameters": {"pin": "yes"}}',
    ],
)
def test_what_can_not_be_read_is_an_error(service: Service, noted: Noted, body: bytes) -> None:
    response = service.ask("POST", LOAD, content=body, headers=LOCAL)
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
    assert noted.asked == []


def test_an_error_of_our_own_is_an_answer_too(
    gated: Service, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Noted):
        def load(self, which: Which, *, pin: bool = False) -> list[Listed]:
            raise RuntimeError("the device is out of memory")

    gated.state.repository = Broken()
    response = gated.ask("POST", LOAD, headers=LOCAL)
    assert response.status_code == 500
    assert response.json() == {"error": "an error of the service's own; see its log"}
    assert "out of memory" in caplog.text


def test_before_there_is_anything_to_ask_it_says_so(gated: Service) -> None:
    response = gated.ask("POST", "/v2/repository/index", headers=LOCAL)
    assert response.status_code == 503


def test_nobody_else_may(service: Service, guarded: Service, noted: Noted) -> None:
    for path in ("/v2/repository/index", LOAD, LOAD.replace("load", "unload")):
        assert service.ask("POST", path).status_code == 403  # under another name than localhost
        assert guarded.ask("POST", path, headers=LOCAL).status_code == 401
        wrong = {"authorization": "Bearer wrong"}
        assert guarded.ask("POST", path, headers=wrong).status_code == 401
    assert noted.asked == []
    right = {"authorization": f"Bearer {TOKEN}"}
    assert guarded.ask("POST", LOAD, headers=right).status_code == 200


class Woken:
    def __init__(self) -> None:
        self.times = 0

    def wake(self) -> None:
        self.times += 1

    def stop(self) -> None:
        pass


def test_mlflow_s_message_makes_the_follower_look(gated: Service, guarded: Service) -> None:
    path, body = "/webhooks/mlflow", b'{"entity": "model_version_alias"}'
    follower = Woken()
    guarded.state.follower = follower  # type: ignore[assignment]
    assert guarded.ask("POST", path, content=body, headers=signed(body)).status_code == 202
    assert follower.times == 1
    assert guarded.ask("POST", path, content=b"{}", headers=signed(body)).status_code == 401
    assert guarded.ask("POST", path, content=body).status_code == 401
    assert follower.times == 1
    assert gated.ask("POST", path, content=body, headers=signed(body)).status_code == 404
