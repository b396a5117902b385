"""Who may bring models in and out: the bearer of a token; without one, this machine alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from ipaddress import ip_address
from time import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

from serving.errors import ForbiddenError, UnauthorizedError

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_MOST_SECONDS = 300


def require_admin(request: Request, token: str | None) -> None:
    """Refuse a request that may not administer the service.

    Without a token the connection must come from this machine, and not out of a web page that
    some browser on it has open: the name that was asked for must be this machine's own, and a page
    that the request comes from must be ours.

    Args:
        request: its headers and its peer.
        token: the service's; None if it has none.

    Raises:
        UnauthorizedError: if there is a token and the request has another or none.
        ForbiddenError: if there is none and the request doesn't come from this machine.
    """
    if token is not None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not _same(given.strip(), token):
            raise UnauthorizedError("this needs the header Authorization: Bearer TOKEN")
        return
    if not (_is_this_machine(request) and _is_own_page(request)):
        raise ForbiddenError(
            "without PATCHBAY_ADMIN_TOKEN only this machine may do that, under the name localhost"
        )


def require_signature(headers: Headers, body: bytes, secret: str) -> None:
    """Refuse a message that MLflow did not sign, or signed long ago.

    Args:
        headers: of the request.
        body: as it arrived.
        secret: what the webhook was made with.

    Raises:
        UnauthorizedError: if it is not signed with the secret, or more than five minutes old.
    """
    sent = headers.get("x-mlflow-timestamp", "")
    delivery = headers.get("x-mlflow-delivery-id", "")
    signed = b".".join([delivery.encode("latin-1"), sent.encode("latin-1"), body])
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    expected = f"v1,{base64.b64encode(digest).decode()}"
    if not _same(headers.get("x-mlflow-signature", ""), expected):
        raise UnauthorizedError("the message is not signed with the webhook's secret")
    if not (sent.isascii() and sent.isdecimal() and abs(time() - int(sent[:12])) <= _MOST_SECONDS):
        raise UnauthorizedError("the message was signed more than five minutes ago")


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _is_this_machine(request: Request) -> bool:
    try:
        return request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _is_own_page(request: Request) -> bool:
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    try:
        name = urlsplit(f"//{host}").hostname
        return name in _LOCAL_NAMES and (origin is None or urlsplit(origin).netloc == host)
    except ValueError:
        return False
