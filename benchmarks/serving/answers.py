"""Whether an answer is the expected one: one short name for each way in which it is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from benchmarks.serving.connection import Answer

OK = "ok"
REFUSED = str(int(HTTPStatus.SERVICE_UNAVAILABLE))
WRONG_LABEL = "wrong label"
UNREADABLE = "unreadable answer"
DISCONNECTED = "disconnected"


def _first_prediction(answer: Answer) -> Any:
    return json.loads(answer.body)["predictions"][0]["label"]


def told_by(version: int, label: str, weak_label: str, changed_by: Sequence[str]) -> str:
    """All that an answer says of an image, in one line, with the version that says it."""
    return f"version {version}: {label!r}, {weak_label!r} changed by {list(changed_by)}"


def _all_of_it(answer: Answer) -> str:
    found = json.loads(answer.body)
    [said] = found["predictions"]
    version = found["model"]["version"]
    return told_by(version, said["label"], said["weak_label"], said["changed_by"])


def _v2_json(answer: Answer) -> Any:
    [output] = [one for one in json.loads(answer.body)["outputs"] if one["name"] == "label"]
    return output["data"][0]


def _v2_binary(answer: Answer) -> Any:
    """Tensors follow the JSON in its order; a text is its length in four bytes, then itself."""
    found = answer.head.lower().partition(b"inference-header-content-length:")[2]
    start = int(found.split(b"\r\n", 1)[0])
    place = start
    for output in json.loads(answer.body[:start])["outputs"]:
        if output["name"] == "label":
            length = int.from_bytes(answer.body[place : place + 4], "little")
            return answer.body[place + 4 : place + 4 + length].decode()
        place += output["parameters"]["binary_data_size"]
    raise LookupError("no label")


LABEL_READERS: dict[str, Callable[[Answer], Any]] = {
    "predictions": _first_prediction,
    "version": _all_of_it,
    "v2-json": _v2_json,
    "v2-binary": _v2_binary,
}
"""How an answer is read: the first image's label; ``version`` reads what `told_by` makes. Another
protocol adds its own here."""


def kind_of(answer: Answer, labels: tuple[str, ...], *, reader: str) -> str:
    """``OK``, or what is wrong with an answer; an HTTP status stands for itself.

    Args:
        answer: to a request with one image.
        labels: what it may say: the class, as its reader tells it.
        reader: one of `LABEL_READERS`.
    """
    if answer.status != HTTPStatus.OK:
        return str(answer.status)
    try:
        found = LABEL_READERS[reader](answer)
    except (ValueError, LookupError, TypeError):
        return UNREADABLE
    return OK if found in labels else WRONG_LABEL
