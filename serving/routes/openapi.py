"""One OpenAPI document that covers every route of the service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from modularizer.software import own_version
from serving.protocol import (
    ErrorResponse,
    ModelDescription,
    PredictResponse,
    ReadyResponse,
    StatusResponse,
)
from serving.v2.body import HEADER_LENGTH
from serving.v2.documented import InferRequestBody, InferResponseBody, RepositoryRequestBody
from serving.v2.messages import (
    ErrorMessage,
    ModelMetadata,
    ModelReady,
    RepositoryEntry,
    ServerLive,
    ServerMetadata,
    ServerReady,
)

_PREFIX = "#/components/schemas/"
_BINARY = {"type": "string", "format": "binary"}
_WORDS = {
    400: "The request can't be read.",
    401: "The token, or the signature, is missing or another one.",
    403: "Without a token only this machine may do that.",
    404: "There is no such thing.",
    405: "The route takes another method.",
    408: "The body did not arrive in time.",
    409: "It is in use.",
    413: "The body is too large.",
    415: "The bytes are of no format that is known.",
    422: "It can be read, but is no image, too large, or names what is not there.",
    500: "An error of the service's own, or of the model.",
    503: "There is no model yet, or too much to do; Retry-After says when to ask again.",
    504: "There was no answer in time.",
}
_IMAGES = (400, 405, 408, 413, 415, 422, 500, 503, 504)


@dataclass(frozen=True)
class Operation:
    """One route and method, as the document tells of it.

    Attributes:
        method: in capitals.
        path: with names in braces.
        summary: what it is for.
        answers: media type to schema, or to a message whose schema it is; of a success.
        error: the message of all errors.
        errors: the statuses that it may end with.
        takes: the same of the body; empty for none.
        needs_body: whether there must be one.
        query: name to schema and words.
        headers: name to schema and words.
        success: its status.
        is_admin: whether it needs the token.
    """

    method: str
    path: str
    summary: str
    answers: Mapping[str, Any]
    error: type[BaseModel] = ErrorResponse
    errors: tuple[int, ...] = (405,)
    takes: Mapping[str, Any] | None = None
    needs_body: bool = True
    query: Mapping[str, tuple[dict[str, Any], str]] | None = None
    headers: Mapping[str, tuple[dict[str, Any], str]] | None = None
    success: int = 200
    is_admin: bool = False


def _json(message: Any) -> dict[str, Any]:
    return {"application/json": message}


_FLAG = {"type": "string", "enum": ["0", "1", "false", "true", "no", "yes"]}
_PREDICT = Operation(
    "POST",
    "/predict",
    "Predict images: weak and patched scores of each, and which patch changed the answer.",
    _json(PredictResponse),
    errors=_IMAGES,
    takes={
        "multipart/form-data": {
            "type": "object",
            "additionalProperties": {"oneOf": [_BINARY, {"type": "array", "items": _BINARY}]},
            "description": "One file or several, under any names.",
        },
        "image/png": _BINARY,
        "image/jpeg": _BINARY,
        "image/webp": _BINARY,
        "application/octet-stream": _BINARY | {"description": "A .npy array of uint8, or an image"},
    },
    query={
        "patches": (
            {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
            "The classes whose patches are plugged in, with commas between them or repeated; "
            "none for the weak model alone, all (as without it) for all.",
        ),
        "explain": (_FLAG, "1 says what each patch did."),
        "timeout_ms": (
            {"type": "integer", "minimum": 1, "maximum": 3_600_000},
            "How long the answer may take, in milliseconds.",
        ),
    },
)


def _v2(
    method: str, path: str, summary: str, message: Any, *more: int, **options: Any
) -> Operation:
    return Operation(
        method, path, summary, _json(message), ErrorMessage, errors=(405, *more), **options
    )


def _model_operations(path: str, which: str) -> Iterable[Operation]:
    infer = _json(InferResponseBody) | {"application/octet-stream": _BINARY}
    yield _v2("GET", path, f"Inputs and outputs of {which}.", ModelMetadata, 404)
    yield _v2("GET", f"{path}/ready", f"Whether {which} can be asked.", ModelReady, 404)
    yield Operation(
        "POST",
        f"{path}/infer",
        f"Predict images with {which}: tensors in, tensors out.",
        infer,
        ErrorMessage,
        errors=(404, *_IMAGES),
        takes=_json(InferRequestBody) | {"application/octet-stream": _BINARY},
        headers={
            HEADER_LENGTH: (
                {"type": "integer", "minimum": 1},
                "How many bytes of the body are JSON; the others are tensors (binary extension).",
            )
        },
    )


def _admin(path: str, summary: str, *more: int) -> Operation:
    return _v2(
        *("POST", path, summary),
        {"type": "array", "items": {"$ref": f"{_PREFIX}RepositoryEntry"}},
        *(400, 401, 403, 408, 413, 503, *more),
        takes=_json(RepositoryRequestBody),
        needs_body=False,
        is_admin=True,
    )


OPERATIONS = (
    _PREDICT,
    Operation("GET", "/model", "The version that answers.", _json(ModelDescription), errors=(503,)),
    Operation("GET", "/status", "What this process has done.", _json(StatusResponse)),
    Operation(
        "GET",
        "/",
        "The page; the list of routes where JSON is asked for.",
        {"text/html": {"type": "string"}, "application/json": {"type": "object"}},
    ),
    Operation(
        "GET",
        "/page/{name}",
        "What the page is made of.",
        {"text/css": {"type": "string"}, "text/javascript": {"type": "string"}},
        errors=(404, 405),
    ),
    Operation(
        "GET",
        "/samples",
        "The names of images to try it with.",
        _json({"type": "array", "items": {"type": "string"}}),
    ),
    Operation(
        "GET",
        "/samples/{name}",
        "One of these images.",
        {"image/png": _BINARY, "image/jpeg": _BINARY, "image/webp": _BINARY},
        errors=(404, 405),
    ),
    Operation("GET", "/openapi.json", "This document.", _json({"type": "object"})),
    Operation("GET", "/metrics", "Counters for Prometheus.", {"text/plain": {"type": "string"}}),
    Operation("GET", "/livez", "200 while the process runs.", {"text/plain": {"type": "string"}}),
    Operation(
        "GET", "/readyz", "Whether there is a model.", _json(ReadyResponse), errors=(405, 503)
    ),
    _v2("GET", "/v2", "The server's name, version and extensions.", ServerMetadata),
    _v2("GET", "/v2/health/live", "Whether the process runs.", ServerLive),
    Operation(
        "GET",
        "/v2/health/ready",
        "Whether there is a model.",
        _json(ServerReady),
        ServerReady,
        errors=(503,),
    ),
    *_model_operations("/v2/models/{name}", "the active or highest version of a name"),
    *_model_operations("/v2/models/{name}/versions/{version}", "a version"),
    _admin("/v2/repository/index", "What is registered, in memory, active."),
    _admin("/v2/repository/models/{name}/load", "Bring a version into memory.", 404, 422),
    _admin("/v2/repository/models/{name}/unload", "Let go of a version.", 404, 409),
    Operation(
        "POST",
        "/webhooks/mlflow",
        "A signed message of MLflow's: look at once where the alias stands.",
        {},
        ErrorMessage,
        errors=(401, 404, 405, 408, 413),
        takes=_json({"type": "object"}),
        success=202,
    ),
)
"""Every route and method that the service answers."""


def openapi_document() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    messages = {
        one
        for operation in OPERATIONS
        for one in (
            *operation.answers.values(),
            *(operation.takes or {}).values(),
            operation.error,
            RepositoryEntry,
        )
        if isinstance(one, type)
    }
    ordered = sorted(messages, key=lambda message: message.__name__)
    _, schemas = models_json_schema(
        [(message, "serialization") for message in ordered], ref_template=_PREFIX + "{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "patchbay",
            "version": own_version(),
            "description": "Answers with a patched image classifier.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def openapi_route() -> Route:
    """``GET /openapi.json``."""
    document = openapi_document()

    async def handle(_: Request) -> Response:
        return JSONResponse(document)

    return Route("/openapi.json", handle, methods=["GET"])


def _described(operation: Operation) -> dict[str, Any]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    for place, given in (("query", operation.query), ("header", operation.headers)):
        parameters += [
            {"name": name, "in": place, "schema": schema, "description": words}
            for name, (schema, words) in (given or {}).items()
        ]
    error = _content(_json(operation.error))
    answers: dict[str, Any] = {
        str(operation.success): {"description": "Done.", "content": _content(operation.answers)}
    }
    for status in sorted(set(operation.errors)):
        answers[str(status)] = {"description": _WORDS[status], "content": error}
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _identifier(operation),
        "parameters": parameters,
        "responses": answers,
    }
    if operation.takes is not None:
        content = _content(operation.takes)
        found["requestBody"] = {"required": operation.needs_body, "content": content}
    if operation.is_admin:
        found["security"] = [{"token": []}, {}]
    return found


def _content(media: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {
            "schema": {"$ref": _PREFIX + one.__name__} if isinstance(one, type) else one,
        }
        for name, one in media.items()
    }


def _identifier(operation: Operation) -> str:
    words = operation.path.replace("{", "").replace("}", "").replace(".", "/").split("/")
    return "_".join([operation.method.lower(), *filter(None, words)])
