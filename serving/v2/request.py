"""A V2 inference request: bytes in, images and wishes out."""

from __future__ import annotations

from dataclasses import dataclass

from serving.decoding.limits import ImageLimits
from serving.v2.body import split_body
from serving.v2.fields import Fields
from serving.v2.images import Images, read_images
from serving.v2.outputs import RequestedOutput, read_outputs


@dataclass(frozen=True)
class InferRequest:
    """What ``POST /v2/models/NAME/infer`` asks for.

    Attributes:
        id: to be given back; None if there is none.
        images: at least one.
        patches: which patches to use, as it was written; None if nothing was said.
        timeout_us: microseconds that the answer may take; None for no limit.
        outputs: at least one.
    """

    id: str | None
    images: Images
    patches: str | None
    timeout_us: int | None
    outputs: tuple[RequestedOutput, ...]


def parse_infer(body: bytes, *, header_length: str | None, limits: ImageLimits) -> InferRequest:
    """Read a request of the Open Inference Protocol, with or without binary tensor data.

    Parameters that we don't know are left alone, as the protocol has it.

    Args:
        body: all of it, as it was sent.
        header_length: the value of ``Inference-Header-Content-Length``; None if it was not sent.
        limits: how many images, and how large, one request may have.

    Raises:
        RequestError: the subclass that says what was expected and what was found.

    Example:
        >>> body = b'''{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 3],
        ...                         "data": [255, 0, 0]}]}'''
        >>> request = parse_infer(body, header_length=None, limits=ImageLimits(8, 100, 800))
        >>> request.images
        Pixels(images=[array([[[255,   0,   0]]], dtype=uint8)])
    """
    request, raw = split_body(body, header_length)
    parameters = request.fields("parameters")
    return InferRequest(
        id=request.text("id"),
        patches=parameters.text("patches"),
        timeout_us=parameters.whole_number("timeout") or None,  # 0 is none, as Triton has it
        outputs=read_outputs(request),
        images=read_images(_only_input(request), raw, limits=limits),
    )


def _only_input(request: Fields) -> Fields:
    inputs = request.items("inputs")
    if inputs is None or len(inputs) != 1:
        found = "none" if inputs is None else len(inputs)
        raise request.error(f"expected exactly one of inputs, named 'images', found {found}")
    return Fields(inputs[0], "inputs[0]")
