"""Our messages as HTTP responses."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.responses import Response

from serving.errors import RequestError
from serving.protocol import ErrorDetail, ErrorResponse


def json_answer(
    message: BaseModel,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    exclude_none: bool = False,
) -> Response:
    """A message of `serving.protocol` as a JSON response.

    Args:
        message: what to say.
        status: of the response.
        headers: of the response, besides the content type.
        exclude_none: whether fields that are None are left out.
    """
    return Response(
        message.model_dump_json(exclude_none=exclude_none),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


def error_answer(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The JSON that every error of ours is answered with."""
    error = ErrorResponse(error=ErrorDetail(code=code, message=message))
    return json_answer(error, status=status, headers=headers)


def refusal(error: RequestError) -> Response:
    """An error of `serving.errors`, with its code, in patchbay's own words."""
    return error_answer(error.status, error.code, str(error), error.headers)
