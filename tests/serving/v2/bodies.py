from __future__ import annotations

import json
from typing import Any

from serving.decoding.limits import ImageLimits
from serving.v2.request import InferRequest, parse_infer

LIMITS = ImageLimits(max_images=10, max_pixels=1_000, max_request_pixels=3_000)


def tensor(**fields: Any) -> dict[str, Any]:
    """A right input of one grey pixel, but for these fields; None leaves one out."""
    right = {"name": "images", "shape": [1, 1, 1], "datatype": "UINT8", "data": [7]}
    return {name: value for name, value in {**right, **fields}.items() if value is not None}


def body(raw: bytes = b"", *, inputs: Any = None, **fields: Any) -> tuple[bytes, str | None]:
    """A body with this input, right if None, and its header."""
    head = {"inputs": [tensor()] if inputs is None else inputs, **fields}
    text = json.dumps(head).encode()
    return text + raw, str(len(text)) if raw else None


def parse(encoded: tuple[bytes, str | None], limits: ImageLimits = LIMITS) -> InferRequest:
    return parse_infer(encoded[0], header_length=encoded[1], limits=limits)
