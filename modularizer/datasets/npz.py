"""A data set in one ``.npz`` file, read without ever running what is in it."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.images import ImageSet, require_uint8_images
from modularizer.datasets.published import PublishedSets
from modularizer.errors import DataError

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "class_names")

# What numpy and zipfile raise on damaged, encrypted, pickled or absurdly large members.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def load_npz(path: Path, *, seed: int = 0, validation_fraction: float = 0.2) -> DataSplits:
    """Read a file and split its training images; its test images stay the test set.

    Args:
        path: a file as `read_npz` takes it.
        seed: decides which training images validate, 0 or more.
        validation_fraction: share of each class's training images, in (0, 1).

    Returns:
        Splits whose source is the file's name.

    Raises:
        DataError: if the file is missing, broken or of another form.

    Example:
        >>> import tempfile
        >>> pixels, labels = np.zeros((10, 8, 8), np.uint8), np.repeat([0, 1], 5)
        >>> file = Path(tempfile.mkdtemp()) / "made.npz"
        >>> np.savez(file, train_images=pixels, train_labels=labels, test_images=pixels,
        ...          test_labels=labels, class_names=["cat", "dog"])
        >>> len(load_npz(file).train), len(load_npz(file).validation)
        (8, 2)
    """
    published = read_npz(path)
    try:
        return published.split(source=path.name, seed=seed, validation_fraction=validation_fraction)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_npz(path: Path) -> PublishedSets:
    """Read ``train_images``, ``train_labels``, ``test_images``, ``test_labels``, ``class_names``.

    Images are uint8, N x H x W x C with C 1 or 3, or N x H x W (grey). Labels are integers of
    any width, one an image, each the position of its class in ``class_names`` (strings).

    Raises:
        DataError: if the file is missing, is no archive, lacks an array, or an array is not of
            this form; the message names the file and the array.
    """
    arrays = _read_arrays(path)
    try:
        class_names = _class_names(arrays["class_names"])
        return PublishedSets(
            train=_image_set(arrays, "train", class_names),
            test=_image_set(arrays, "test", class_names),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    with _opened(path, ARRAYS) as archive:
        missing = [name for name in ARRAYS if name not in archive.files]
        if missing:
            raise DataError(
                f"{path} lacks {', '.join(missing)}; expected {', '.join(ARRAYS)}, "
                f"found {', '.join(archive.files) or 'nothing'}"
            )
        return {name: _read_array(archive, name, path) for name in ARRAYS}


@contextmanager
def _opened(path: Path, expected: Sequence[str]) -> Iterator[Any]:
    if not path.is_file():
        raise DataError(f"no file {path}; expected an .npz with {', '.join(expected)}")
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(
                f"{path} is not an .npz file (no complete zip archive); write it with numpy.savez"
            )
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except _UNREADABLE as error:
        raise DataError(
            f"{path} can't be opened as an .npz archive ({error}); write it again"
        ) from error


def _read_array(archive: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        array = archive[name]
    except _UNREADABLE as error:
        raise DataError(
            f"{path}: {name} can't be read as a plain array ({error}); write it again as "
            "numbers or strings, not as Python objects"
        ) from error
    if not isinstance(array, np.ndarray):  # a member without numpy's header comes as bytes
        raise DataError(f"{path}: {name} is not a numpy array; write it with numpy.savez")
    return array


def _class_names(array: NDArray[Any]) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U" or not len(array):
        raise DataError(
            "class_names: expected a list of strings, at least one, found "
            f"{array.dtype} of shape {array.shape}"
        )
    names = tuple(str(name) for name in array)
    if "" in names or len(set(names)) < len(names):
        raise DataError(
            f"class_names: expected different names, none of them empty, found {list(names)}"
        )
    return names


def _image_set(
    arrays: dict[str, NDArray[Any]], part: str, class_names: tuple[str, ...]
) -> ImageSet:
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    images = images[..., np.newaxis] if images.ndim == 3 else images
    try:
        require_uint8_images(images)
    except DataError as error:
        raise DataError(f"{part}_images: {error}") from error
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{part}_labels: expected whole numbers (an integer dtype), found {labels.dtype}"
        )
    try:
        return ImageSet(images, labels.astype(np.int64), class_names)
    except DataError as error:
        raise DataError(f"{part}_labels: {error}") from error
