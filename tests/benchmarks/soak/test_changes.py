"""What happens beside the load, against a service that answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.soak.changes import AliasMove, Changes, Happened, SoakError
from benchmarks.soak.settings import SoakSettings
from benchmarks.soak.versions import Versions
from registry.registry import Registry
from tests.waiting import wait_until

SETTINGS = SoakSettings(move_seconds=0.5, load_seconds=0.1)
AT_ONCE = SoakSettings(move_seconds=0.001, load_seconds=0.1)  # shorter than a move takes


@contextmanager
def answering(registry: Registry, *, follows: bool = True, status: int = 200) -> Iterator[str]:
    """Says of itself that it serves what the alias stands for, or always the first version."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = registry.find("models:/served@champion").uri if follows else "models:/served/1"
            self._answer(200, {"model": {"uri": found}})

        def do_POST(self) -> None:
            self._answer(status, [] if status == 200 else {"error": "no room"})

        def _answer(self, code: int, said: object) -> None:
            body = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_alias_goes_round_and_class_modules_come_and_go(
    registry: Registry, versions: Versions
) -> None:
    with (
        answering(registry) as url,
        Changes(registry, versions, url, AT_ONCE, core=None) as changes,
    ):
        wait_until(lambda: len(changes.happened.moves) >= 2 and changes.happened.unloaded >= 2)
    happened = changes.happened
    assert [move.uri for move in happened.moves[:2]] == list(versions.uris[1:])
    assert all(move.served_after_seconds is not None for move in happened.moves)
    assert happened.loaded - happened.unloaded in (0, 1)
    assert happened.refused == []


def test_a_round_begins_with_each_move_to_the_first_version() -> None:
    happened = Happened([AliasMove(10.0 * n, f"models:/m/{n % 3}", 1.0) for n in range(1, 11)])
    assert happened.round_bounds("models:/m/0", 0, 100) == [30, 60, 90]
    assert happened.round_bounds("models:/m/0", 31, 100) == [60, 90]
    assert happened.round_bounds("models:/m/0", 0, 89) == [30, 60]


def test_what_the_service_does_not_do_is_noted(registry: Registry, versions: Versions) -> None:
    with (
        answering(registry, follows=False, status=507) as url,
        Changes(registry, versions, url, SETTINGS, core=None) as changes,
    ):
        wait_until(lambda: len(changes.happened.moves) >= 1 and len(changes.happened.refused) > 1)
    happened = changes.happened
    assert None in [move.served_after_seconds for move in happened.moves]
    assert (happened.loaded, happened.unloaded) == (0, 0)
    assert "no room" in happened.refused[0]


def test_what_ends_is_told(registry: Registry, versions: Versions) -> None:
    with (
        pytest.raises(SoakError, match="ended"),
        Changes(registry, versions, "http://127.0.0.1:9", SETTINGS, core=None) as changes,
    ):
        wait_until(lambda: not changes.is_running)
