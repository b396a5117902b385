"""A folder of image files, with a folder for each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modularizer.datasets.data_splits import DataSplits
from modularizer.datasets.held_out import HeldOut
from modularizer.datasets.image_files import IMAGE_SUFFIXES, read_image_files
from modularizer.datasets.images import ImageSet
from modularizer.datasets.published import PublishedSets
from modularizer.datasets.splits import require_every_class, split_images
from modularizer.errors import DataError

_PARTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


def load_folder(root: Path, *, size: tuple[int, int] | None = None, seed: int = 0) -> DataSplits:
    """Read an image folder; the folders' names say what is what.

    ===============================  =====================================================
    ``root/<class>/``                split 40 / 30 / 30 in each class
    ``root/train/<class>/``          the same
    ... and ``root/test/<class>/``   test as it is, a fifth of train for validation
    ... and ``root/val/<class>/``    all three as they are (also ``root/validation/``)
    ===============================  =====================================================

    Hidden files, files that are no images by suffix, deeper folders, and links that lead out of
    ``root`` are left out. Classes and files are taken in the order of their names.

    Args:
        root: the folder.
        size: (height, width) in pixels to resize to, whatever the proportions (bilinear,
            antialiased); when None all images must have one size already.
        seed: decides which image goes where, 0 or more.

    Returns:
        Grey images (C = 1) if all files are grey, RGB (C = 3) otherwise; the source is the
        folder's name.

    Raises:
        DataError: if the folder is missing, holds no image or an unclear mixture of folders; if
            a file is broken (it is named) or sizes differ (two files are named); if a class has
            too few images.
    """
    root = root.resolve()
    folders = _class_folders(root)
    names = tuple(sorted({folder.name for _, folder in folders}))
    files = [(part, folder, path) for part, folder in folders for path in _images(folder, root)]
    if not files:
        raise DataError(
            f"{root} holds no image; expected CLASS/FILE with a suffix of "
            f"{', '.join(sorted(IMAGE_SUFFIXES))} (hidden files and links that lead out of the "
            "folder are not read)"
        )
    labels = np.array([names.index(folder.name) for _, folder, _ in files], dtype=np.int64)
    pixels = read_image_files([path for _, _, path in files], size=size)
    whole = ImageSet(pixels, labels, names)
    in_part = {
        part: np.array([part == own for own, _, _ in files])
        for part in {part for part, _ in folders}
    }
    try:
        return _split(whole, in_part, source=root.name, seed=seed)
    except DataError as error:
        raise DataError(f"{root}: {error}") from error


def _split(
    whole: ImageSet, in_part: Mapping[str, NDArray[np.bool_]], *, source: str, seed: int
) -> DataSplits:
    """Splits as the folders say, as far as they say it."""
    if len(in_part) == 1:  # no part is named, or train alone
        return split_images(whole, source=source, seed=seed)
    parts = {part: whole.take(lies_in) for part, lies_in in in_part.items()}
    if set(parts) == {"train", "test"}:
        return PublishedSets(parts["train"], parts["test"]).split(source=source, seed=seed)
    if "test" not in parts:
        raise DataError("found train and validation, but no test/; add it or merge the two")
    for part, images in parts.items():
        require_every_class(images, part)
    return DataSplits(parts["train"], parts["validation"], HeldOut(parts["test"]), source)


def _class_folders(root: Path) -> list[tuple[str, Path]]:
    """Each class folder with the part it belongs to, which is "" where the folders don't say."""
    if not root.is_dir():
        raise DataError(f"no folder {root}; expected one with a folder of images for each class")
    top = list(_folders(root, root))
    # A class may be called "train": then its folder holds images, and no folders.
    if not any(folder.name == "train" and any(_folders(folder, root)) for folder in top):
        return [("", folder) for folder in top]
    parts = [_PARTS.get(folder.name, "") for folder in top]
    if "" in parts or len(set(parts)) < len(parts):
        raise DataError(
            f"{root} has {', '.join(folder.name for folder in top)}; beside train/ expected only "
            "test/ and one of validation/ and val/"
        )
    for folder in top:
        if not any(_folders(folder, root)):
            raise DataError(f"{folder} has no folder; expected one for each class, like train/")
    pairs = zip(parts, top, strict=True)
    return [(part, folder) for part, place in pairs for folder in _folders(place, root)]


def _folders(folder: Path, root: Path) -> Iterator[Path]:
    return (path for path in _visible(folder, root) if path.is_dir())


def _images(folder: Path, root: Path) -> Iterator[Path]:
    return (
        path
        for path in _visible(folder, root)
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )


def _visible(folder: Path, root: Path) -> Iterator[Path]:
    """What lies in ``folder``, by name, less hidden entries and links that lead out of ``root``."""
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} can't be listed ({error}); check its permissions") from error
    for path in entries:
        inside = not path.is_symlink() or (path.exists() and path.resolve().is_relative_to(root))
        if not path.name.startswith(".") and inside:
            yield path
