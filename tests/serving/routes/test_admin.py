from __future__ import annotations

import base64
import hashlib
import hmac
from time import time

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from serving.errors import ForbiddenError, UnauthorizedError
from serving.routes.admin import require_admin, require_signature

TOKEN = "correct horse"
SECRET = "a webhook's secret"


def request(peer: str | None = "127.0.0.1", **headers: str) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    client = None if peer is None else (peer, 5000)
    return Request({"type": "http", "headers": raw, "client": client})


def test_the_bearer_of_the_token_may_come_from_anywhere() -> None:
    for scheme in ("Bearer", "bearer"):
        require_admin(request("203.0.113.5", authorization=f"{scheme} {TOKEN}"), TOKEN)


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
def test_others_are_refused_also_on_this_machine(authorization: str) -> None:
    with pytest.raises(UnauthorizedError, match="Authorization: Bearer TOKEN") as caught:
        require_admin(request(host="localhost", authorization=authorization), TOKEN)
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "127.8.9.1"])
@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "localhost"])
def test_without_a_token_this_machine_may(peer: str, host: str) -> None:
    require_admin(request(peer, host=host), None)
    require_admin(request(peer, host=host, origin=f"http://{host}"), None)


@pytest.mark.parametrize(
    ("peer", "host", "origin"),
    [
        ("203.0.113.5", "localhost:3000", None),
        (None, "localhost:3000", None),
        ("testclient", "localhost:3000", None),
        ("127.0.0.1", "evil.example:3000", None),  # a name that was made to mean this machine
        ("127.0.0.1", "localhost.evil.example", None),
        ("127.0.0.1", "", None),
        ("127.0.0.1", "[", None),
        ("127.0.0.1", "localhost:3000", "https://evil.example"),
        ("127.0.0.1", "localhost:3000", "http://localhost:8000"),
        ("127.0.0.1", "localhost:3000", "null"),
    ],
)
def test_without_a_token_others_and_web_pages_may_not(
    peer: str | None, host: str, origin: str | None
) -> None:
    more = {} if origin is None else {"origin": origin}
    with pytest.raises(ForbiddenError, match="PATCHBAY_ADMIN_TOKEN"):
        require_admin(request(peer, host=host, **more), None)


def signed(body: bytes, *, secret: str = SECRET, age_seconds: float = 0) -> dict[str, str]:
    sent = str(int(time() - age_seconds))
    digest = hmac.new(secret.encode(), f"d-1.{sent}.".encode() + body, hashlib.sha256).digest()
    return {
        "X-MLflow-Delivery-Id": "d-1",
        "X-MLflow-Timestamp": sent,
        "X-MLflow-Signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def test_mlflow_s_own_signature_is_taken() -> None:
    from mlflow.webhooks.delivery import _generate_hmac_signature

    sent, body = str(int(time())), '{"event": "é"}'
    headers = {
        "X-MLflow-Delivery-Id": "d-7",
        "X-MLflow-Timestamp": sent,
        "X-MLflow-Signature": _generate_hmac_signature(SECRET, "d-7", sent, body),
    }
    require_signature(Headers(headers), body.encode(), SECRET)


def test_what_is_not_signed_so_is_refused() -> None:
    body = b"{}"
    require_signature(Headers(signed(body)), body, SECRET)
    for headers, sent in [
        ({}, body),
        (signed(body), b"{ }"),
        (signed(body, secret="another one"), body),
        ({**signed(body), "X-MLflow-Delivery-Id": "d-2"}, body),
        ({**signed(body), "X-MLflow-Timestamp": "1"}, body),
    ]:
        with pytest.raises(UnauthorizedError, match="not signed"):
            require_signature(Headers(headers), sent, SECRET)
    for age_seconds in (400, -400):
        headers = signed(body, age_seconds=age_seconds)
        with pytest.raises(UnauthorizedError, match="more than five minutes ago"):
            require_signature(Headers(headers), body, SECRET)
