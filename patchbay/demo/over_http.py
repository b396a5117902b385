"""Every held-out image over HTTP, against the offline answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modularizer.assembly.patched import PatchedClassifier
    from modularizer.progress import ProgressCallback
    from serving.protocol import PredictResponse
    from serving.settings import Settings

TOLERANCE = 1e-5
"""Largest difference of a score over HTTP from the offline one."""


@dataclass(frozen=True)
class HttpCheck:
    """What came back.

    Attributes:
        images: images sent, one a request, one after the other.
        mismatches: answers whose label, model version or any score is another than offline.
        p50_ms: median latency, seen from the client, one client.
        p99_ms: 99th percentile of it.
    """

    images: int
    mismatches: int
    p50_ms: float
    p99_ms: float


def check_over_http(
    version_uri: str,
    patched: PatchedClassifier,
    images: NDArray[np.uint8],
    *,
    settings: Settings,
    progress: ProgressCallback,
) -> HttpCheck:
    """Start the real service on a free loopback port, ask it about each image, stop it.

    Args:
        version_uri: the version that it must name in its answers.
        patched: the same model, for the offline answers.
        images: uint8 (N, H, W, C).
        settings: the service's; they name what to serve.
        progress: told when it is ready, and after each image.

    Raises:
        LaunchError: if the service does not start or become ready.
        ClientError: if it answers no request at all.
    """
    import numpy as np

    from modularizer.assembly.patched import predict_both
    from modularizer.progress import Progress
    from serving.client import PredictClient, png_bytes
    from serving.errors import ClientError
    from serving.launch import running_service

    offline = predict_both(patched, images)
    expected, weak = offline.scores.numpy(), offline.weak_scores.numpy()
    latencies_ms, mismatches = [], 0
    with (
        running_service(settings) as service,
        PredictClient(service.url) as client,
    ):
        progress(Progress("start", 1, 1))  # or it would count as the first image
        for index, image in enumerate(images):
            try:
                answer = client.predict(png_bytes(image))
            except ClientError:
                mismatches += 1
            else:
                latencies_ms.append(answer.latency_ms)
                mismatches += not _equals(
                    answer.response, version_uri, patched.class_names, expected[index], weak[index]
                )
            progress(Progress("images", index + 1, len(images)))
    if not latencies_ms:
        raise ClientError(f"the service answered none of {len(images)} requests")
    p50, p99 = np.percentile(latencies_ms, (50, 99))
    return HttpCheck(len(images), mismatches, float(p50), float(p99))


def _equals(
    answer: PredictResponse,
    version_uri: str,
    class_names: tuple[str, ...],
    expected: NDArray[np.float32],
    weak: NDArray[np.float32],
) -> bool:
    import numpy as np

    (prediction,) = answer.predictions
    scores = [prediction.scores[name] for name in class_names]
    weak_scores = [prediction.weak_scores[name] for name in class_names]
    return (
        answer.model.uri == version_uri
        and prediction.label == class_names[int(expected.argmax())]
        and prediction.weak_label == class_names[int(weak.argmax())]
        and bool(np.abs(np.array(scores) - expected).max() <= TOLERANCE)
        and bool(np.abs(np.array(weak_scores) - weak).max() <= TOLERANCE)
    )
