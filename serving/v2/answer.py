"""Scores and labels to the bytes of a V2 inference response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from serving.v2.body import HEADER_LENGTH
from serving.v2.elements import pack_elements
from serving.v2.outputs import RequestedOutput
from serving.v2.request import InferRequest

MOVERS = 2
"""The most patches that can move an answer: that of the class it left and of that it came to."""


@dataclass(frozen=True)
class InferAnswer:
    """What a patched model says of N images, and the weak one beside it.

    Attributes:
        model_name: the name of the model that answered.
        model_version: its version.
        class_names: of the scores, in order.
        scores: float32 (N, classes), finite.
        weak_scores: the same of the weak model alone.
        labels: N class names.
        changed_by: for each image the classes whose patches moved its answer, two at most.
    """

    model_name: str
    model_version: str
    class_names: Sequence[str]
    scores: NDArray[np.float32]
    weak_scores: NDArray[np.float32]
    labels: Sequence[str]
    changed_by: Sequence[Sequence[str]]


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]
    values: NDArray[np.float32] | list[str]


def encode_infer(request: InferRequest, answer: InferAnswer) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of the response, with the outputs that the request asks for.

    Args:
        request: what was asked.
        answer: for each of its images, in order.

    Returns:
        The body; ``Content-Type`` and, if an output is binary, ``Inference-Header-Content-Length``.

    Raises:
        ValueError: if the scores are not finite, parts of the answer are not of one length, or
            more than two classes moved an answer: JSON and the shapes have no room for it.
    """
    _require_whole(answer)
    outputs = []
    parts = []
    for requested in request.outputs:
        tensor = _tensor(requested, answer)
        output: dict[str, Any] = {"name": requested.name, "shape": tensor.shape}
        output["datatype"] = "BYTES" if isinstance(tensor.values, list) else "FP32"
        if requested.binary:
            part = _packed(tensor)
            parts.append(part)
            output["parameters"] = {"binary_data_size": len(part)}
        else:
            output["data"] = _listed(tensor)
        outputs.append(output)
    head: dict[str, Any] = {
        "model_name": answer.model_name,
        "model_version": answer.model_version,
        "outputs": outputs,
    }
    if request.id is not None:
        head["id"] = request.id
    text = to_json(head)
    if not parts:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return b"".join([text, *parts]), headers


def _tensor(requested: RequestedOutput, answer: InferAnswer) -> _Tensor:
    if requested.name == "label":
        return _Tensor((len(answer.labels),), list(answer.labels))
    if requested.name == "changed_by":
        rows = [(*names, *[""] * (MOVERS - len(names))) for names in answer.changed_by]
        return _Tensor((len(rows), MOVERS), [name for row in rows for name in row])
    scores = answer.scores if requested.name == "scores" else answer.weak_scores
    if requested.top_classes is not None:
        return _ranked(scores, answer.class_names, requested.top_classes)
    return _Tensor(scores.shape, scores)


def _ranked(scores: NDArray[np.float32], class_names: Sequence[str], count: int) -> _Tensor:
    """The highest values as Triton's classification extension writes them; the first of equals."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    texts = [
        f"{scores[row, index]:f}:{index}:{class_names[index]}"
        for row, indices in enumerate(order.tolist())
        for index in indices
    ]
    return _Tensor(order.shape, texts)


def _packed(tensor: _Tensor) -> bytes:
    if isinstance(tensor.values, list):
        return pack_elements(text.encode() for text in tensor.values)
    return tensor.values.astype("<f4", copy=False).tobytes()


def _listed(tensor: _Tensor) -> list[Any]:
    if isinstance(tensor.values, list):
        return tensor.values
    flat: list[Any] = tensor.values.ravel().tolist()
    return flat


def _require_whole(answer: InferAnswer) -> None:
    shape = (len(answer.labels), len(answer.class_names))
    found = [answer.scores.shape, answer.weak_scores.shape]
    if found != [shape, shape] or len(answer.changed_by) != shape[0]:
        raise ValueError(
            f"expected scores of shape {shape} and as many entries of changed_by, found shapes "
            f"{found} and {len(answer.changed_by)} entries"
        )
    if not (np.isfinite(answer.scores).all() and np.isfinite(answer.weak_scores).all()):
        raise ValueError("expected finite scores, found NaN or infinity")
    most = max((len(names) for names in answer.changed_by), default=0)
    if most > MOVERS:
        raise ValueError(f"expected at most {MOVERS} patches to change an answer, found {most}")
