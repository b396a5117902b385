"""The errors of serving; those that answer a request carry an HTTP status and a short code."""

from __future__ import annotations

from collections.abc import Mapping


class ServingError(Exception):
    """Something about serving that a user can put right; the message says how."""


class SettingsError(ServingError):
    """An environment variable of the service holds a value that can't be used."""


class LaunchError(ServingError):
    """The service could not be started, or did not become ready."""


class ClientError(ServingError):
    """A running service did not answer, or answered with an error."""


class ScoringError(ServingError):
    """Images can't be scored into a folder; the message says what to do."""


class NoImagesError(ScoringError):
    """There is no image where some were promised."""


class ModelError(ServingError):
    """There is nothing to serve under the address that the settings give.

    Attributes:
        code: a short, stable name for programs.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class OverBudgetError(ServingError):
    """A network doesn't fit into the memory that models may take; nothing was taken for it."""


class RequestError(ServingError):
    """A request that gets an error for an answer.

    Attributes:
        status: the HTTP status.
        code: a short, stable name for programs; the message is for people.
    """

    status = 400
    code = "bad_request"

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers that belong to this error."""
        return {}


class ImageError(RequestError):
    """One of a request's files is not an image that the service can use."""

    status = 422
    code = "invalid_image"


class EmptyBodyError(ImageError):
    """There is no image in the request."""

    status = 400

    code = "empty_body"


class BadMultipartError(RequestError):
    """A multipart body can't be taken apart, or holds no file."""

    code = "bad_multipart"


class BadBodyError(RequestError):
    """The body can't be read as its headers say."""

    code = "bad_body"


class BadInferRequestError(RequestError):
    """A field of a V2 inference request is missing, or holds what it can't."""

    code = "bad_infer_request"


class BadTensorError(RequestError):
    """The tensor of a V2 inference request has no datatype, shape or values of images."""

    code = "bad_tensor"


class SlowBodyError(RequestError):
    """The body did not arrive in time."""

    status = 408
    code = "slow_body"

    @property
    def headers(self) -> Mapping[str, str]:
        """The rest of the body is not waited for."""
        return {"Connection": "close"}


class BodyTooLargeError(RequestError):
    """The body has more bytes than the service takes."""

    status = 413
    code = "body_too_large"

    def __init__(self, message: str, *, closes: bool) -> None:
        super().__init__(message)
        self.closes = closes

    @property
    def headers(self) -> Mapping[str, str]:
        """A body of unknown length ends its connection: nobody knows how much would follow."""
        return {"Connection": "close"} if self.closes else {}


class UnsupportedFormatError(ImageError):
    """The bytes are neither PNG, JPEG, WebP nor .npy."""

    status = 415
    code = "unsupported_format"


class InvalidImageError(ImageError):
    """The bytes begin like an image and are none that can be read."""


class InvalidArrayError(ImageError):
    """A .npy body is broken, or its dtype or shape is not one of images."""

    code = "invalid_array"


class TooManyPixelsError(ImageError):
    """An image, or all of a request's together, has more pixels than the service takes."""

    code = "too_many_pixels"


class TooManyImagesError(ImageError):
    """A request has more images than the service takes at once."""

    code = "too_many_images"


class BadQueryError(RequestError):
    """A parameter behind the question mark is unknown, or has a value that can't be used."""

    code = "bad_query"


class UnknownPatchError(RequestError):
    """A patch was asked for that the model doesn't have."""

    status = 422
    code = "unknown_patch"


class DeadlineError(RequestError):
    """The answer was not there in the time that the request, or the service, allows."""

    status = 504
    code = "deadline_exceeded"


class BusyError(RequestError):
    """There is as much work as the service lets in at a time."""

    status = 503
    code = "busy"

    @property
    def headers(self) -> Mapping[str, str]:
        """When it's worth asking again."""
        return {"Retry-After": "1"}


class InternalError(RequestError):
    """Something went wrong that is not the request's fault; the log has more."""

    status = 500
    code = "internal"


class NonFiniteScoresError(RequestError):
    """The model gave NaN or infinity for one of the images."""

    status = 500
    code = "non_finite_scores"


class UnknownModelError(RequestError):
    """No such model, or version of it, is in memory."""

    status = 404
    code = "unknown_model"


class UnknownRouteError(RequestError):
    """What the route does is not switched on."""

    status = 404
    code = "not_found"


class UnauthorizedError(RequestError):
    """The request doesn't say who it is from, or can't prove it."""

    status = 401
    code = "unauthorized"

    @property
    def headers(self) -> Mapping[str, str]:
        """How to say so."""
        return {"WWW-Authenticate": "Bearer"}


class ForbiddenError(RequestError):
    """Who sent the request may not do that from where it comes."""

    status = 403
    code = "forbidden"


class InUseError(RequestError):
    """A model can't be let go of, because it is in use."""

    status = 409
    code = "in_use"


class UnloadableError(RequestError):
    """A model is registered and can't be brought into memory; the message says why."""

    status = 422
    code = "unloadable"


class RegistryUnreachableError(RequestError):
    """The registry did not answer."""

    status = 503
    code = "registry_unreachable"

    @property
    def headers(self) -> Mapping[str, str]:
        """When it's worth asking again."""
        return {"Retry-After": "10"}


class NotReadyError(RequestError):
    """There is no model to answer with; the message says why."""

    status = 503

    def __init__(self, code: str, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    @property
    def headers(self) -> Mapping[str, str]:
        """When it's worth asking again."""
        return {"Retry-After": str(self.retry_after_seconds)}
