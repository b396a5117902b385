"""A server that answers with something else than the files that were asked for."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from registry.errors import BundleError, StoreError
from registry.store.artifacts import copy_file, list_files, upload_file, upload_folder
from registry.store.client import Store, import_mlflow
from tests.registry.store.recording import recording_server

ROOT = "mlflow-artifacts:/1/models/m-1/artifacts"
PATH = "/api/2.0/mlflow-artifacts/artifacts"
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server_that(answer: Answer) -> Iterator[Store]:
    """A store whose server answers every GET and PUT so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                answer(self)
            except (BrokenPipeError, ConnectionResetError):  # the other side had enough
                self.close_connection = True

        do_PUT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        import_mlflow(url)
        try:
            yield Store(None, url, "1", None)
        finally:
            server.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, **headers: str) -> None:
    handler.send_response(200)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def listing(*entries: tuple[str, bool, int]) -> Answer:
    """Lists these in every folder: name, whether it is a folder, bytes."""
    files = [{"path": p, "is_dir": d, "file_size": s} for p, d, s in entries]
    return lambda handler: send(handler, json.dumps({"files": files}).encode())


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b'{"files": [')
    while True:
        handler.wfile.write(b'{"path": "a", "is_dir": false, "file_size": 1},' * 1000)


Access = Callable[[Store, str, Path], object]


def upload_all(store: Store, location: str, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "weights").write_bytes(b"weights")
    upload_folder(store, location, folder / "out")


def upload_one(store: Store, location: str, folder: Path) -> None:
    (folder / "a.png").write_bytes(b"picture")
    upload_file(store, location, folder / "a.png", "pictures")


every_access = pytest.mark.parametrize(
    "access",
    [
        lambda store, location, _: list_files(store, location),
        lambda store, location, folder: copy_file(
            store, location, "weights", folder / "a", size_bytes=7
        ),
        upload_all,
        upload_one,
    ],
)


@every_access
@pytest.mark.parametrize(
    "location",
    [
        "mlflow-artifacts://{other}/1/models",
        "http://{other}/api/2.0/mlflow-artifacts/artifacts/1",
        "http://{own}@{other}/api/2.0/mlflow-artifacts/artifacts/1",
        "https://{own}/api/2.0/mlflow-artifacts/artifacts/1",
    ],
)
def test_another_server_is_sent_nothing(
    access: Access, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with server_that(listing()) as store, recording_server() as other:
        named = location.format(own=urlparse(store.tracking_uri).netloc, other=other.host)
        with pytest.raises(BundleError, match=r"127\.0\.0\.1:\d+ are neither read nor written"):
            access(store, named, tmp_path)
    assert other.requests == []


@every_access
def test_a_host_in_front_of_the_stores_own_is_sent_nothing(
    access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Authorization"])
        send(handler, b'{"a":1}')

    with server_that(answer) as store, recording_server() as other:
        own = urlparse(store.tracking_uri).netloc  # urllib3 and urllib differ in whose address
        location = f"http://{other.host}\\@{own}/api/2.0/mlflow-artifacts/artifacts/1"
        access(store, location, tmp_path)
    assert other.requests == []
    assert asked == ["Bearer secret"]


@every_access
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_way_to_another_server_is_not_followed(
    access: Access, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Location", f"http://{other.host}/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with (
        recording_server() as other,
        server_that(answer) as store,
        pytest.raises((BundleError, StoreError), match=f"{status}, which leads to another"),
    ):
        access(store, ROOT, tmp_path)
    assert other.requests == []


def test_a_folder_is_sent_file_by_file(tmp_path: Path) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append((handler.command, handler.path, handler.headers["Content-Length"]))
        if len(asked) == 1:
            handler.send_error(503)  # it is tried again
        else:
            send(handler, b"{}")

    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a b.png").write_bytes(b"picture")
    (tmp_path / "weights").write_bytes(b"many weights")
    with server_that(answer) as store:
        upload_folder(store, ROOT, tmp_path)
    assert len(asked) == 3
    assert sorted(asked[1:]) == [
        ("PUT", f"{PATH}/1/models/m-1/artifacts/pictures/a%20b.png", "7"),
        ("PUT", f"{PATH}/1/models/m-1/artifacts/weights", "12"),
    ]


def test_a_server_that_takes_no_files_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weights")
    with (
        server_that(lambda handler: handler.send_error(403, "no room for you")) as store,
        pytest.raises(StoreError, match=r"weights can't be stored: the server says 403.*no room"),
    ):
        upload_file(store, ROOT, tmp_path / "weights")


def test_a_listing_goes_into_folders() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = parse_qs(urlparse(handler.path).query)["path"][0]
        if asked.endswith("/pictures"):
            listing(("a.png", False, 7))(handler)
        else:
            listing(("bundle.json", False, 5), ("pictures", True, 0))(handler)

    with server_that(answer) as store:
        assert list_files(store, ROOT) == {"bundle.json": 5, "pictures/a.png": 7}


@pytest.mark.parametrize("name", ["..", "../x", "/etc/passwd", "a/../../x", "a\\b", "", "."])
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_listing_that_names_something_elsewhere_is_refused(name: str, is_folder: bool) -> None:
    with (
        server_that(listing((name, is_folder, 1))) as store,
        pytest.raises(BundleError, match="lies somewhere else"),
    ):
        list_files(store, ROOT)


def test_folders_in_folders_without_end_are_refused() -> None:
    with (
        server_that(listing(("deeper", True, 0))) as store,
        pytest.raises(BundleError, match="at most 200 files"),
    ):
        list_files(store, ROOT)


def test_a_listing_of_many_files_is_refused() -> None:
    many = [(f"file-{number}", False, 1) for number in range(201)]
    with server_that(listing(*many)) as store, pytest.raises(BundleError, match="at most 200"):
        list_files(store, ROOT)


def test_a_listing_without_end_is_refused() -> None:
    with server_that(endless) as store, pytest.raises(BundleError, match="1048576 bytes"):
        list_files(store, ROOT)


@pytest.mark.parametrize(
    "body",
    [b"no json", b"[]", b'{"files": 3}', b'{"files": [{}]}', b"[" * 100_000, b"\xff"],
)
def test_a_listing_that_can_not_be_read_is_refused(body: bytes) -> None:
    with (
        server_that(lambda handler: send(handler, body)) as store,
        pytest.raises(BundleError, match="listing can't be read"),
    ):
        list_files(store, ROOT)


def test_a_file_is_copied(tmp_path: Path) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        send(handler, b"weights")

    with server_that(answer) as store:
        copy_file(store, ROOT, "pictures/a.png", tmp_path / "a", size_bytes=7)
    assert (tmp_path / "a").read_bytes() == b"weights"
    assert asked == [f"{PATH}/1/models/m-1/artifacts/pictures/a.png"]


def test_a_file_without_end_is_read_to_its_listed_size(tmp_path: Path) -> None:
    with server_that(endless) as store, pytest.raises(BundleError, match="1000 bytes, found more"):
        copy_file(store, ROOT, "weights", tmp_path / "a", size_bytes=1000)
    assert (tmp_path / "a").stat().st_size <= 1001


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    with (
        server_that(lambda handler: send(handler, b"short")) as store,
        pytest.raises(BundleError, match="expected 6 bytes, found 5"),
    ):
        copy_file(store, ROOT, "weights", tmp_path / "a", size_bytes=6)


def test_a_packed_answer_is_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(2**24))

    def answer(handler: BaseHTTPRequestHandler) -> None:
        assert handler.headers["Accept-Encoding"] == "identity"
        send(handler, packed, Content_Encoding="gzip")

    with server_that(answer) as store:
        copy_file(store, ROOT, "weights", tmp_path / "a", size_bytes=len(packed))
    assert (tmp_path / "a").read_bytes() == packed


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    with (
        server_that(lambda handler: handler.send_error(404)) as store,
        pytest.raises(BundleError, match="the server says 404"),
    ):
        copy_file(store, ROOT, "weights", tmp_path / "a", size_bytes=6)


def test_an_answer_that_breaks_off_is_asked_for_again(tmp_path: Path) -> None:
    answers = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        answers.append(handler.path)
        if len(answers) == 1:
            send(handler, b"wei", Content_Length="7")
            handler.close_connection = True
        elif len(answers) == 2:
            handler.send_error(503)
        else:
            send(handler, b"weights")

    with server_that(answer) as store:
        copy_file(store, ROOT, "weights", tmp_path / "a", size_bytes=7)
    assert (tmp_path / "a").read_bytes() == b"weights"
    assert len(answers) == 3


def test_a_server_that_stays_busy_is_told_with_how_often_it_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.store.patience._FIRST_PAUSE_SECONDS", 0.001)
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        handler.send_error(503)

    with (
        server_that(answer) as store,
        pytest.raises(StoreError, match=r"reading weights failed 6 times in \d+ s.*503"),
    ):
        copy_file(store, ROOT, "weights", tmp_path / "a", size_bytes=7)
    assert len(asked) == 6


def test_a_local_file_that_grows_is_read_to_its_listed_size(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(100))
    store = Store(None, "sqlite://", "1", tmp_path)
    with pytest.raises(BundleError, match="expected 10 bytes, found more"):
        copy_file(store, tmp_path.as_uri(), "weights", tmp_path / "a", size_bytes=10)
    assert (tmp_path / "a").stat().st_size == 11


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights")
    store = Store(None, "sqlite://", "1", tmp_path)
    with pytest.raises(BundleError, match="no plain file"):
        copy_file(store, tmp_path.as_uri(), "weights", tmp_path / "a", size_bytes=10)
