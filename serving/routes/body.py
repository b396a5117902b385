"""The files in a request, read within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from serving.errors import BadBodyError, BadMultipartError, BodyTooLargeError, SlowBodyError

# Text fields are of no use here; a few are forgiven, since some form libraries add their own.
_MAX_FIELDS = 16
_MAX_FIELD_BYTES = 4096

# Of the names of fields and files, which are not looked at. Python has codecs that take quadratic
# time, so no other is looked up.
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1", b"windows-1252")


async def read_body(
    request: Request, *, max_bytes: int, seconds: float, held: Callable[[int], None]
) -> bytes:
    """A request's whole body.

    Args:
        request: its body not yet read.
        max_bytes: of the body; counted while it arrives.
        seconds: how long it may take.
        held: told how many bytes more are held; what it raises passes through.

    Raises:
        RequestError: if the body is too large or too slow, or can't be read as its headers say.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, max_bytes, held)
    except TimeoutError as error:
        raise SlowBodyError(f"the body did not arrive within {seconds:g} seconds") from error


async def split_files(request: Request, body: bytes, *, max_files: int) -> list[bytes]:
    """The files of a multipart body, or any other body as one file.

    Args:
        request: its headers.
        body: all of it.
        max_files: of a multipart body.

    Returns:
        The bytes of each file, in the order sent, whatever their field is called.

    Raises:
        BadMultipartError: if it can't be taken apart, or is multipart without a file, or says
            that its names are in an unusual charset.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await _split(request, body, max_files)
    return [body]


async def _read(request: Request, max_bytes: int, held: Callable[[int], None]) -> bytes:
    declared = request.headers.get("content-length", "")
    is_declared = declared.isascii() and declared.isdecimal()
    declared_bytes = int(declared.lstrip("0")[:20] or "0") if is_declared else 0
    if declared_bytes > max_bytes:
        # Nothing of it is read. The connection stays: the server throws the rest away, and a
        # client that sends it all before it looks still finds this answer.
        raise BodyTooLargeError(
            f"at most {max_bytes} bytes a request, this one declares {declared_bytes}", closes=False
        )
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise BadBodyError("a body with a Content-Encoding is not taken; send it uncompressed")
    if is_declared:
        held(declared_bytes)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLargeError(f"at most {max_bytes} bytes a request, found more", closes=True)
        if not is_declared:
            held(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


async def _split(request: Request, body: bytes, max_files: int) -> list[bytes]:
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8")
    if charset.lower() not in _CHARSETS:
        found = charset[:60].decode("latin-1")
        raise BadMultipartError(f"expected a multipart body in UTF-8, found {found!r}")
    parser = MultiPartParser(
        request.headers,
        _once(body),
        max_files=max_files,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    parser.spool_max_size = len(body) + 1  # it is in memory already: no temporary files
    try:
        form = await parser.parse()
        files = [item for _, item in form.multi_items() if isinstance(item, UploadFile)]
        contents = [await file.read() for file in files]
        await form.close()
    except MultiPartException as error:
        raise BadMultipartError(
            f"the multipart body can't be taken apart: {error.message}"
        ) from error
    except Exception as error:  # the parser may fail in any way on bytes made up to do so
        raise BadMultipartError("the multipart body can't be taken apart") from error
    if not contents:
        raise BadMultipartError(
            "the multipart body holds no file; with curl: -F image=@picture.png (mind the @)"
        )
    return contents


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
