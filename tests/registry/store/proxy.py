"""A way to a server on which answers get lost and requests arrive twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

_OWN_HEADERS = ("connection", "content-length", "host", "transfer-encoding", "content-encoding")


@dataclass
class Way:
    """A proxy in front of a server.

    Attributes:
        url: the proxy's address.
        lose: ends of paths whose next answer is lost: the server gets the request, the client
            hears nothing.
        double: ends of paths whose next request arrives twice; the client gets the second answer.
        requests: method and path of everything that came in.
    """

    url: str
    lose: set[str] = field(default_factory=set)
    double: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)


@contextmanager
def way_to(server_url: str) -> Iterator[Way]:
    """A proxy to a server, without faults at first."""

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            path = self.path.partition("?")[0]
            way.requests.append(f"{self.command} {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer = self._ask(body)
            if _take(way.double, self.command, path):
                answer = self._ask(body)
            if _take(way.lose, self.command, path):
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name.lower() not in _OWN_HEADERS:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def _ask(self, body: bytes) -> requests.Response:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _OWN_HEADERS}
            url = server_url + self.path
            return requests.request(self.command, url, data=body, headers=headers, timeout=60)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _forward  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        way = Way(f"http://127.0.0.1:{proxy.server_port}")
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield way
        finally:
            proxy.shutdown()
            thread.join()


def _take(faults: set[str], method: str, path: str) -> bool:
    """Whether a fault is due; each is due once."""
    due = {fault for fault in faults if f"{method} {path}".endswith(fault)}
    faults -= due
    return bool(due)
