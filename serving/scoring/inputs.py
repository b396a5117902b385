"""What is to be scored: the images of files, folders and arrays, listed once, in a fixed order."""

from __future__ import annotations

import hashlib
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from modularizer.datasets.image_files import IMAGE_SUFFIXES
from modularizer.errors import DataError
from serving.errors import NoImagesError
from serving.scoring.array_files import ARRAY_SUFFIXES, ImageArray

Unread = Path | NDArray[np.uint8]
"""A file to decode, or the pixels of an array's image: uint8 (H, W, 1 or 3)."""

Stamp = tuple[int, int]
_GONE: Stamp = (-1, -1)


class Source(Protocol):
    """Images that were named together."""

    def __len__(self) -> int:
        """How many images."""
        ...

    def name(self, index: int) -> str:
        """What one of them is called in the answers."""
        ...

    def stamp(self, index: int) -> Stamp:
        """Size and time of change (ns) of the file that it is in."""
        ...

    def fetch(self, start: int, stop: int) -> Sequence[Unread]:
        """The images ``start`` up to ``stop``; asked for from front to back."""
        ...

    def close(self) -> None:
        """Close what fetching has opened."""
        ...


@dataclass(frozen=True)
class ImageFiles:
    """Image files of one folder.

    Attributes:
        folder: where they are.
        paths: of each, below the folder.
        stamps: int64 (N, 2): size and time of change (ns) of each.
        shown: what their names begin with in the answers.
    """

    folder: Path
    paths: Sequence[str]
    stamps: NDArray[np.int64]
    shown: str = ""

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The path, with bytes that are no text written out."""
        return _as_text(self.shown + self.paths[index])

    def stamp(self, index: int) -> Stamp:
        """The file's size and time of change (ns)."""
        size, changed = self.stamps[index].tolist()
        return size, changed

    def fetch(self, start: int, stop: int) -> list[Unread]:
        """The files' paths: nothing is read yet."""
        return [self.folder / path for path in self.paths[start:stop]]

    def close(self) -> None:
        """Nothing is open."""


class Inputs:
    """All images that a command was given, one after the other.

    Args:
        sources: in order.
        doubles: images that were left out because they had been named already.
    """

    def __init__(self, sources: Sequence[Source], *, doubles: int = 0) -> None:
        self._sources = [source for source in sources if len(source)]
        self._ends = list(accumulate(len(source) for source in self._sources))
        self.doubles = doubles

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def names(self, start: int, stop: int) -> list[str]:
        """What the images ``start`` up to ``stop`` are called in the answers."""
        return [
            source.name(index)
            for source, first, last in self._within(start, stop)
            for index in range(first, last)
        ]

    def fetch(self, start: int, stop: int) -> list[Unread]:
        """The images ``start`` up to ``stop``, files not yet read.

        Arrays are read here: ask for them from front to back, from one thread.

        Raises:
            DataError: if an array can't be read.
        """
        return [
            one
            for source, first, last in self._within(start, stop)
            for one in source.fetch(first, last)
        ]

    def close(self) -> None:
        """Close what fetching has opened."""
        for source in self._sources:
            source.close()

    def fingerprint(self) -> str:
        """SHA-256 over each image's name and its file's size and time of change: 64 hex digits."""
        digest = hashlib.sha256()
        for source in self._sources:
            for index in range(len(source)):
                digest.update(f"{source.name(index)}\0{source.stamp(index)}\n".encode())
        return digest.hexdigest()

    def _within(self, start: int, stop: int) -> Iterator[tuple[Source, int, int]]:
        """The sources that hold these images, with the first and last one's place in each."""
        place = bisect_right(self._ends, start)
        while start < stop:
            source, end = self._sources[place], self._ends[place]
            before = end - len(source)
            yield source, start - before, min(stop, end) - before
            start, place = end, place + 1


def list_inputs(paths: Sequence[Path], *, as_dataset: bool = False) -> Inputs:
    """List what there is, without reading a pixel.

    Of a folder all files with an image's suffix are taken, in folders within it, too, sorted by
    their names; links to files are followed, links to folders below it are not.

    Args:
        paths: image files, folders, .npy or .npz files.
        as_dataset: leave out what was named before; images of a folder that is named alone are
            called by their paths below it. Otherwise names begin with the path as it was given.

    Raises:
        NoImagesError: if a folder holds no image, or a path is neither file nor folder.
        DataError: if a folder can't be listed, or an array is not one of images.
    """
    alone = as_dataset and len(paths) == 1
    sources = [_source(path, alone=alone) for path in paths]
    if not as_dataset or alone:
        return Inputs(sources)
    return _distinct(paths, sources)


def _source(path: Path, *, alone: bool) -> ImageFiles | ImageArray:
    if path.is_dir():
        shown = "" if alone else str(path / "_").removesuffix("_")
        return _folder(path, shown)
    if not path.is_file():  # a named pipe would be waited for without end
        raise NoImagesError(f"{path} is no file and no folder")
    if path.suffix.lower() in ARRAY_SUFFIXES:
        return ImageArray(path)
    found_at = path.stat()
    stamps = np.array([(found_at.st_size, found_at.st_mtime_ns)], np.int64)
    return ImageFiles(path.parent, [path.name], stamps, str(path).removesuffix(path.name))


def _folder(root: Path, shown: str) -> ImageFiles:
    names: list[str] = []
    numbers = array("q")  # a hundred thousand pairs of Python's own would take tens of megabytes
    for name, stamp in _image_files(root):
        names.append(name)
        numbers.extend(stamp)
    if not names:
        raise NoImagesError(f"no image in {root}")
    # As paths are sorted: by the names of folders first.
    order = sorted(range(len(names)), key=lambda index: names[index].replace(os.sep, "\0"))
    stamps = np.array(numbers, np.int64).reshape(-1, 2)
    return ImageFiles(root, [names[index] for index in order], stamps[order], shown)


def _image_files(root: Path) -> Iterator[tuple[str, Stamp]]:
    """The image files below a folder and their stamps, in no order."""
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{below}{entry.name}{os.sep}")
                    elif _is_image(entry):
                        yield f"{below}{entry.name}", _stamp(entry)
        except OSError as error:
            raise DataError(
                f"{root / below} can't be listed ({error.strerror or error}); check its permissions"
            ) from error


def _is_image(entry: os.DirEntry[str]) -> bool:
    if PurePath(entry.name).suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        return not entry.is_dir()  # a link to a folder
    except OSError:  # a circle of links; reading it will say so
        return True


def _stamp(entry: os.DirEntry[str]) -> Stamp:
    try:
        found = entry.stat()
    except OSError:  # a link that leads nowhere; reading it will say so
        return _GONE
    return found.st_size, found.st_mtime_ns


def _distinct(paths: Sequence[Path], sources: Iterable[ImageFiles | ImageArray]) -> Inputs:
    """The sources without files that an earlier one holds under the same name."""
    seen: set[str] = set()
    kept: list[Source] = []
    doubles = 0
    for path, source in zip(paths, sources, strict=True):
        if isinstance(source, ImageArray):
            place = os.path.realpath(path.parent) + os.sep + path.name
            if place in seen:
                doubles += len(source)
                continue
            seen.add(place)
            kept.append(source)
            continue
        folder = os.path.realpath(source.folder) + os.sep
        new = [index for index, one in enumerate(source.paths) if folder + one not in seen]
        doubles += len(source) - len(new)
        seen.update(folder + one for one in source.paths)
        kept.append(
            ImageFiles(
                source.folder,
                [source.paths[index] for index in new],
                source.stamps[new],
                source.shown,
            )
        )
    return Inputs(kept, doubles=doubles)


def _as_text(name: str) -> str:
    """A file's name as text; of bytes that are no UTF-8 the numbers."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
