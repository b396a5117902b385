"""``patchbay predict``: offline answers for files, folders and arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchbay import options
from patchbay.console import emit, table
from patchbay.session import open_registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from modularizer.assembly.patched import PatchedClassifier
    from modularizer.classifier import Classifier

Named = tuple[str, "NDArray[np.uint8]"]

_AT_ONCE = 256


@click.command(short_help="Classify image files offline.")
@click.argument("uri")
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@options.common
def predict(
    uri: str, images: tuple[Path, ...], threads: int, home: Path | None, as_json: bool
) -> None:
    """Classify IMAGES with the model URI: image files, folders of them, .npy or .npz arrays.

    Of an .npz the array `images` is read, or `test_images` where there is none.
    """
    registry = open_registry(home, threads=threads, addresses=[uri], reads_only=True)
    from modularizer.assembly.patched import PatchedClassifier
    from modularizer.classifier import Classifier
    from registry.errors import RegistryError

    loaded = registry.load(uri)
    if not isinstance(loaded.model, PatchedClassifier | Classifier):
        raise RegistryError(
            f"{loaded.version.uri} scores one class alone; predict with a strong, weak or "
            "patched model"
        )
    answers = [answer for path in images for answer in _answers(loaded.model, list(_read(path)))]
    if as_json:
        emit({"uri": loaded.version.uri, "predictions": answers})
        return
    table(
        f"{loaded.version.uri}",
        ("image", "answer", "score", "weak answer", "changed by"),
        [
            (
                answer["image"],
                answer["label"],
                f"{answer['scores'][answer['label']]:.3f}",
                answer.get("weak_label", ""),
                ", ".join(answer.get("changed_by", ())),
            )
            for answer in answers
        ],
        left=2,
    )


def _read(path: Path) -> Iterator[Named]:
    from modularizer.datasets.image_files import IMAGE_SUFFIXES, read_image_files

    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise click.UsageError(f"no image in {path}")
        for file in files:
            yield from _read(file)
    elif path.suffix.lower() in (".npy", ".npz"):
        for index, image in enumerate(_read_array(path)):
            yield f"{path}[{index}]", image
    elif not path.is_file():  # a named pipe would be waited for without end
        raise click.UsageError(f"{path} is no file and no folder")
    else:
        (image,) = read_image_files([path])
        yield str(path), image


def _read_array(path: Path) -> NDArray[np.uint8]:
    from modularizer.datasets.npz import read_image_array
    from modularizer.errors import DataError
    from serving.arrays import images_from_npy
    from serving.errors import RequestError

    if path.suffix.lower() == ".npz":
        return read_image_array(path, ("images", "test_images"))
    try:
        return images_from_npy(path.read_bytes(), check=lambda images, height, width: None)
    except RequestError as error:
        raise DataError(f"{path}: {error}") from error


def _answers(
    model: PatchedClassifier | Classifier, named: Sequence[Named]
) -> Iterator[dict[str, Any]]:
    """One answer an image; neighbours of one shape go in together, `_AT_ONCE` at most."""
    from itertools import groupby

    import numpy as np
    import torch

    from modularizer.assembly.patched import PatchedClassifier, PatchedScores
    from modularizer.classifier import inference
    from modularizer.preprocessing import as_tensor

    numbered = enumerate(named)
    for _, group in groupby(numbered, key=lambda item: (item[1][1].shape, item[0] // _AT_ONCE)):
        items = [one for _, one in group]
        pixels = as_tensor(np.stack([image for _, image in items]))
        with inference(model):
            if isinstance(model, PatchedClassifier):
                both = model.both(pixels)
            else:
                scores = torch.softmax(model(pixels), dim=1)
                both = PatchedScores(scores, scores)
        for (name, _), patched, weak in zip(items, both.scores, both.weak_scores, strict=True):
            yield _answer(model, name, patched.tolist(), weak.tolist())


def _answer(
    model: PatchedClassifier | Classifier, name: str, scores: list[float], weak: list[float]
) -> dict[str, Any]:
    from modularizer.assembly.patched import PatchedClassifier

    names = model.class_names
    label, weak_label = scores.index(max(scores)), weak.index(max(weak))
    answer: dict[str, Any] = {
        "image": name,
        "label": names[label],
        "scores": dict(zip(names, scores, strict=True)),
    }
    if isinstance(model, PatchedClassifier):
        answer |= {
            "weak_label": names[weak_label],
            "weak_scores": dict(zip(names, weak, strict=True)),
            "changed_by": list(model.changed_by(weak_label=weak_label, label=label)),
        }
    return answer
