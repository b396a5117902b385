"""Ask a running service, and see how long it takes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from serving.errors import ClientError
from serving.protocol import ErrorResponse, Prediction, PredictResponse


@dataclass(frozen=True)
class TimedAnswer:
    """An answer and how long it took.

    Attributes:
        response: which model answered, and a prediction for each image.
        latency_ms: from sending the request to having the whole answer, as the client sees it.
    """

    response: PredictResponse
    latency_ms: float

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """One for each image, in the order sent."""
        return self.response.predictions


class PredictClient:
    """Sends images over one connection that stays open.

    Args:
        url: of the service, such as ``http://127.0.0.1:3000``.
        timeout_seconds: for each request.

    Example:
        >>> with PredictClient("http://127.0.0.1:3000") as client:      # doctest: +SKIP
        ...     client.predict(png_bytes(image)).predictions[0].label
        'TC'
    """

    def __init__(self, url: str, *, timeout_seconds: float = 30.0) -> None:
        # Proxies of the environment are not for a service that is named by its address.
        self._client = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def predict(self, body: bytes) -> TimedAnswer:
        """Ask for the image, or images, in these bytes.

        Args:
            body: a PNG, JPEG, WebP or .npy file.

        Raises:
            ClientError: if the service doesn't answer, or answers with an error.
        """
        began = perf_counter()
        try:
            response = self._client.post("/predict", content=body)
        except httpx.HTTPError as error:
            raise ClientError(f"no answer from {self._client.base_url}: {error}") from error
        latency_ms = (perf_counter() - began) * 1000
        try:
            if response.status_code != httpx.codes.OK:
                detail = ErrorResponse.model_validate_json(response.content).error
                raise ClientError(f"{response.status_code} {detail.code}: {detail.message}")
            answer = PredictResponse.model_validate_json(response.content)
        except ValidationError as error:
            raise ClientError(
                f"expected patchbay's JSON from {response.url}, found {response.status_code} "
                f"{response.text[:200]!r}; is another service listening there?"
            ) from error
        return TimedAnswer(answer, latency_ms)


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8 (H, W, 1 or 3), as a PNG file: every pixel is kept."""
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


def npy_bytes(images: NDArray[np.uint8]) -> bytes:
    """Images, uint8 (N, H, W, 1 or 3), as a .npy file."""
    stream = io.BytesIO()
    np.save(stream, images, allow_pickle=False)
    return stream.getvalue()
