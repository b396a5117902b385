"""The outputs that an answer can have, and which of them a request asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from serving.v2.fields import Fields, shown

SCORED = ("scores", "weak_scores")
"""FP32 [N, classes]: of the patched model, and of the weak one alone."""

OUTPUT_NAMES = ("scores", "label", "weak_scores", "changed_by")
"""Beside the scores, ``label`` is BYTES [N], the class with the highest score, and ``changed_by``
BYTES [N, 2], the classes whose patches moved the answer: the one that it left and the one that it
came to; entries that are not needed are empty. Names may hold commas, so none are joined."""


@dataclass(frozen=True)
class RequestedOutput:
    """One output that a request asks for.

    Attributes:
        name: one of `OUTPUT_NAMES`.
        binary: after the JSON in raw bytes, instead of in it.
        top_classes: instead of its tensor, so many of the highest values as BYTES
            ``VALUE:INDEX:CLASS``, highest first (Triton's classification extension); None for
            the tensor.
    """

    name: str
    binary: bool
    top_classes: int | None = None


def read_outputs(request: Fields) -> tuple[RequestedOutput, ...]:
    """The outputs that a request asks for, in its order; all if it names none.

    Raises:
        BadInferRequestError: if one is unknown, asked for twice, or asked for in a way that it
            can't be had.
    """
    binary = request.fields("parameters").truth("binary_data_output") or False
    asked = request.items("outputs")
    if not asked:
        return tuple(RequestedOutput(name, binary) for name in OUTPUT_NAMES)
    outputs: dict[str, RequestedOutput] = {}
    for index, value in enumerate(asked):
        output = _read_output(value, f"outputs[{index}]", binary=binary)
        if output.name in outputs:
            raise request.error(f"expected each output once, found '{output.name}' twice")
        outputs[output.name] = output
    return tuple(outputs.values())


def _read_output(value: Any, place: str, *, binary: bool) -> RequestedOutput:
    fields = Fields(value, place)
    name = fields.text("name")
    if name not in OUTPUT_NAMES:
        raise fields.error(f"expected one of {', '.join(OUTPUT_NAMES)}, found {shown(name)}")
    parameters = fields.fields("parameters")
    if parameters.has("shared_memory_region"):
        raise fields.error("expected to answer in the response; shared memory is not supported")
    top_classes = parameters.whole_number("classification") or None
    if top_classes is not None and name not in SCORED:
        raise fields.error(
            f"expected classification of {' or '.join(SCORED)}, found it of '{name}', which has "
            "no values to rank"
        )
    own = parameters.truth("binary_data")
    return RequestedOutput(name, binary if own is None else own, top_classes)
