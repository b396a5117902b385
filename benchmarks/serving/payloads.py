"""What is sent: the same pictures in every form, with the label that each answer has to name.

Another protocol is another function here that makes a `Payload`, and another reader in
`benchmarks.serving.answers`.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.serving.orders import Exchange, Target
from benchmarks.serving.pictures import smooth_noise
from benchmarks.serving.subject import Subject
from modularizer.preprocessing import as_tensor
from registry.naming import parse_address
from serving.client import png_bytes
from serving.decoding.images import decode_images
from serving.decoding.limits import ImageLimits
from serving.v2.body import HEADER_LENGTH

Side = Literal["patched", "weak"]

_JPEG_QUALITY = 90
_LIMITS = ImageLimits(max_images=1, max_pixels=2**24, max_request_pixels=2**24)


@dataclass(frozen=True)
class Payload:
    """One form of request to one kind of server.

    Attributes:
        name: of the form.
        path: with the query.
        headers: besides Host and Content-Length.
        exchanges: bodies with their labels, sent in turn.
        reader: how the label is found in an answer.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    exchanges: tuple[Exchange, ...]
    reader: str = "predictions"

    def at(self, host: str, port: int) -> Target:
        """The same for a server that is there."""
        return Target(
            host=host,
            port=port,
            path=self.path,
            headers=dict(self.headers),
            exchanges=self.exchanges,
            reader=self.reader,
        )


def npy_file(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8 (H, W, 3), as a .npy file."""
    stream = io.BytesIO()
    np.save(stream, image, allow_pickle=False)
    return stream.getvalue()


def jpeg_file(image: NDArray[np.uint8]) -> bytes:
    """An image, uint8 (H, W, 3), as a JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()


FILES: dict[str, tuple[str, Callable[[NDArray[np.uint8]], bytes]]] = {
    "npy": ("application/octet-stream", npy_file),
    "png": ("image/png", png_bytes),
    "jpeg": ("image/jpeg", jpeg_file),
}
"""Content type and encoding of each form of file; the JPEG is a photograph, larger than others."""

_PATHS: dict[Side, str] = {"patched": "/predict", "weak": "/predict?patches=none"}


def file_payloads(subject: Subject, side: Side) -> dict[str, Payload]:
    """Plain files for the service, by name.

    Args:
        subject: the model that is served.
        side: whose labels are expected, and asked for.
    """
    found = {}
    for name, (content_type, _) in FILES.items():
        files = _files(subject, name)
        labels = labels_of(subject, files)[side]
        exchanges = tuple(Exchange(body=b, labels=(n,)) for b, n in zip(files, labels, strict=True))
        found[name] = Payload(name, _PATHS[side], {"Content-Type": content_type}, exchanges)
    return found


def plain_payloads(subject: Subject) -> dict[str, Payload]:
    """Small plain files for a server that takes them as the service does, by name."""
    found = file_payloads(subject, "patched")
    return {name: found[name] for name in ("npy", "png")}


def v2_payloads(subject: Subject) -> dict[str, Payload]:
    """The small pictures in the Open Inference Protocol, by name: as JSON and as binary tensors.

    Args:
        subject: the model that is served, asked for all its outputs.
    """
    side = subject.size.side
    pictures = [smooth_noise(side, side, seed=seed) for seed in subject.seeds]
    labels = labels_of(subject, [npy_file(picture) for picture in pictures])["patched"]
    about = {"name": "images", "datatype": "UINT8", "shape": [1, side, side, 3]}
    lists = [{"inputs": [{**about, "data": picture.flatten().tolist()}]} for picture in pictures]
    raw = {"binary_data_size": pictures[0].nbytes}
    header = json.dumps(
        {
            "inputs": [{**about, "parameters": raw}],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    bodies = {
        "v2-json": [json.dumps(one).encode() for one in lists],
        "v2-binary": [header + picture.tobytes() for picture in pictures],
    }
    headers = {
        "v2-json": {"Content-Type": "application/json"},
        "v2-binary": {
            "Content-Type": "application/octet-stream",
            HEADER_LENGTH: str(len(header)),
        },
    }
    path = f"/v2/models/{parse_address(subject.uri).name}/infer"
    return {
        name: Payload(
            *(name, path, headers[name]),
            tuple(Exchange(body=b, labels=(n,)) for b, n in zip(bodies[name], labels, strict=True)),
            reader=name,
        )
        for name in bodies
    }


def mlflow_payloads(subject: Subject) -> dict[str, Payload]:
    """What MLflow's server takes for a table with one image, by name.

    Its ``inputs`` and ``instances`` are left out: it hands their base64 to the model as it is.
    """
    forms: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "split-json": ("application/json", _split_json),
        "records-json": ("application/json", _records_json),
        "parquet": ("application/vnd.apache.parquet", _parquet),
    }
    found = {}
    for file_name in ("npy", "png"):
        files = _files(subject, file_name)
        labels = labels_of(subject, files)["patched"]
        for form, (content_type, wrap) in forms.items():
            name = f"{form}-{file_name}"
            exchanges = tuple(
                Exchange(body=wrap(file), labels=(label,))
                for file, label in zip(files, labels, strict=True)
            )
            found[name] = Payload(name, "/invocations", {"Content-Type": content_type}, exchanges)
    return found


def labels_of(subject: Subject, files: Sequence[bytes]) -> dict[Side, list[str]]:
    """What the patched and the weak model say of images in files, decoded as the service does."""
    names = subject.patched.class_names
    found: dict[Side, list[str]] = {"patched": [], "weak": []}
    with torch.inference_mode():
        for file in files:
            [image] = decode_images([file], _LIMITS)
            both = subject.patched.both(as_tensor(image[None]))
            found["patched"].append(names[int(both.scores.argmax())])
            found["weak"].append(names[int(both.weak_scores.argmax())])
    return found


def _files(subject: Subject, name: str) -> list[bytes]:
    side, photo = subject.size.side, subject.size.photo
    height, width = photo if name == "jpeg" else (side, side)
    encode = FILES[name][1]
    return [encode(smooth_noise(height, width, seed=seed)) for seed in subject.seeds]


def _base64(file: bytes) -> str:
    return base64.b64encode(file).decode("ascii")


def _split_json(file: bytes) -> bytes:
    table = {"columns": ["image"], "data": [[_base64(file)]]}
    return json.dumps({"dataframe_split": table}).encode()


def _records_json(file: bytes) -> bytes:
    return json.dumps({"dataframe_records": [{"image": _base64(file)}]}).encode()


def _parquet(file: bytes) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table({"image": [file]}), stream, compression="none")
    return stream.getvalue()
