"""``GET /``: the page, its files and its sample images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.routes.accept import prefers_json
from serving.routes.responses import error_answer
from serving.sample_images import SampleImage

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}

# Everything comes from here; nothing on the page is executed but its own files.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept, and asked after by its ETag: a new version shows at once
}


class Page:
    """The page, read once; it needs nothing but this service.

    Args:
        index: what ``GET /`` gives to programs that would rather have JSON.
        samples: by name.
    """

    def __init__(self, index: Mapping[str, object], samples: Mapping[str, SampleImage]) -> None:
        self._index = dict(index)
        self._samples = samples
        self._files = {
            file.name: _File(file.read_bytes(), _MEDIA_TYPES[f".{file.name.rpartition('.')[2]}"])
            for file in (files("serving") / "page").iterdir()
        }

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/", self.root, methods=["GET"]),
            Route("/page/{name}", self.file, methods=["GET"]),
            Route("/samples", self.sample_names, methods=["GET"]),
            Route("/samples/{name}", self.sample, methods=["GET"]),
        ]

    async def root(self, request: Request) -> Response:
        """``GET /``: the page; the list of routes where JSON is asked for."""
        if prefers_json(", ".join(request.headers.getlist("accept"))):
            return JSONResponse(self._index, headers={"Vary": "Accept"})
        response = self._files["index.html"].answer(request)
        response.headers["Vary"] = "Accept"
        return response

    async def file(self, request: Request) -> Response:
        """``GET /page/NAME``: what the page is made of."""
        name = request.path_params["name"]
        file = self._files.get(name)
        if file is None:
            return error_answer(404, "not_found", "the page has no such file")
        return file.answer(request)

    async def sample_names(self, _: Request) -> Response:
        """``GET /samples``: their names, in order."""
        return JSONResponse(list(self._samples))

    async def sample(self, request: Request) -> Response:
        """``GET /samples/NAME``: one of those that were there at the start, never a path."""
        sample = self._samples.get(request.path_params["name"])
        if sample is None:
            return error_answer(404, "not_found", "there is no such sample; GET /samples lists all")
        return _File(sample.content, sample.media_type).answer(request)


class _File:
    """Bytes that a browser may keep for as long as they don't change."""

    def __init__(self, content: bytes, media_type: str) -> None:
        self._content = content
        self._media_type = media_type
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Response:
        headers = {**_HEADERS, "ETag": self._tag}
        known = request.headers.get("if-none-match", "")
        if self._tag in (one.strip().removeprefix("W/") for one in known.split(",")):
            return Response(status_code=304, headers=headers)
        return Response(self._content, headers=headers, media_type=self._media_type)
