from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from PIL import Image

from serving.settings import Settings
from tests.serving.routes.conftest import Service
from tests.serving.samples import encode, random_images

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "serving" / "page"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}
PICTURE = encode(Image.fromarray(random_images(8, 8)))


@pytest.fixture
def with_samples(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "a b%2F.png").write_bytes(PICTURE)
    (tmp_path / "c.png").write_bytes(PICTURE)
    (tmp_path / "secret.txt").write_text("secret")
    service = Service(Settings(samples=tmp_path))
    yield service
    service.close()


def test_the_page_is_at_the_root(gated: Service) -> None:
    response = gated.ask("GET", "/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.content == (PAGE / "index.html").read_bytes()
    assert response.headers["vary"] == "Accept"


def test_programs_that_would_rather_have_json_get_the_routes(gated: Service) -> None:
    response = gated.ask("GET", "/", headers={"accept": "application/json"})
    assert response.headers["content-type"] == "application/json"
    assert response.headers["vary"] == "Accept"
    assert "GET /status" in response.json()["routes"]


@pytest.mark.parametrize("file", sorted(PAGE.iterdir()), ids=lambda file: file.name)
def test_every_file_of_the_page_is_served(gated: Service, file: Path) -> None:
    response = gated.ask("GET", f"/page/{file.name}")
    assert response.content == file.read_bytes()
    assert response.headers["content-type"] == TYPES[file.suffix]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/page/page.js", "/samples/c.png"])
def test_nothing_may_be_executed_or_asked_from_elsewhere(with_samples: Service, path: str) -> None:
    policy = with_samples.ask("GET", path).headers["content-security-policy"]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for name in ("script-src", "style-src", "connect-src"):
        assert rules[name] == "'self'"
    assert rules["img-src"] == "'self' blob: data:"
    for name in ("base-uri", "form-action", "frame-ancestors"):
        assert rules[name] == "'none'"


def test_the_page_names_no_other_place_and_has_no_script_of_its_own() -> None:
    for file in PAGE.iterdir():
        named = re.findall(r"https?:[^\s'\"]*", file.read_text())
        assert set(named) <= {"http://www.w3.org/2000/svg"}, file
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)


def test_what_did_not_change_is_not_sent_again(gated: Service) -> None:
    for path in ("/", "/page/style.css"):
        tag = gated.ask("GET", path).headers["etag"]
        for known in (tag, f'"other", W/{tag}'):
            again = gated.ask("GET", path, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        assert gated.ask("GET", path, headers={"if-none-match": '"other"'}).status_code == 200
    tags = {gated.ask("GET", f"/page/{file.name}").headers["etag"] for file in PAGE.iterdir()}
    assert len(tags) == len(list(PAGE.iterdir()))


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/nothing.js", "/page/..%2Fservice.py", "/page/../settings.py"],
)
def test_nothing_else_is_served_beside_the_page(gated: Service, path: str) -> None:
    response = gated.ask("GET", path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_samples_are_listed_and_served_by_name(with_samples: Service) -> None:
    assert with_samples.ask("GET", "/samples").json() == ["a b%2F.png", "c.png"]
    response = with_samples.ask("GET", "/samples/a%20b%252F.png")
    assert response.content == PICTURE
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "name", ["secret.txt", "../c.png", "..%2Fc.png", "%2Fetc%2Fpasswd", "C.PNG", "c.png%00", ""]
)
def test_names_that_are_not_on_the_list_are_none(with_samples: Service, name: str) -> None:
    response = with_samples.ask("GET", f"/samples/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


def test_without_samples_the_list_is_empty(gated: Service) -> None:
    assert gated.ask("GET", "/samples").json() == []


def test_the_page_s_files_are_part_of_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["serving"]
    for file in PAGE.iterdir():
        assert any(fnmatch(f"page/{file.name}", pattern) for pattern in patterns)
