from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from modularizer.errors import DataError
from serving.errors import NoImagesError
from serving.scoring.inputs import Inputs, list_inputs
from tests.serving.scoring.made import make_files


def names(inputs: Inputs) -> list[str]:
    return inputs.names(0, len(inputs))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders whose names sort otherwise as paths than as texts, and files that are no images."""
    for where in ("pictures", "pictures/a", "pictures/a-b", "pictures/a/deep"):
        make_files(tmp_path / where, 2)
    (tmp_path / "pictures" / "notes.txt").write_text("no image")
    (tmp_path / "pictures" / "a" / "00000.PNG").write_bytes(b"an image by its name")
    np.save(tmp_path / "pictures" / "array.npy", np.zeros((2, 8, 8), np.uint8))
    return tmp_path / "pictures"


def test_a_folder_is_listed_as_sorted_paths_with_images_alone(folder: Path) -> None:
    expected = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png")
    assert len(expected) == 9
    found = list_inputs([folder])
    assert names(found) == [str(path) for path in expected]
    assert found.fetch(0, len(found)) == expected


def test_a_folder_alone_names_its_images_by_the_paths_below_it(folder: Path) -> None:
    found = names(list_inputs([folder], as_dataset=True))
    assert found[:3] == ["00000.png", "00001.png", "a/00000.PNG"]


def test_images_that_were_named_before_are_taken_once(folder: Path) -> None:
    whole = list_inputs([folder], as_dataset=True)
    again = [folder, folder, folder / "a", folder / "a" / ".." / "00001.png", folder / "array.npy",
             folder / "array.npy"]  # fmt: skip
    found = list_inputs(again, as_dataset=True)
    assert len(found) == len(whole) + 2
    assert found.doubles == len(whole) + 5 + 1 + 2
    assert len(set(names(found))) == len(found)
    assert names(found)[0] == str(folder / "00000.png")  # as it was given: there are several


def test_without_a_dataset_everything_is_taken_as_often_as_it_is_named(folder: Path) -> None:
    image = folder / "00000.png"
    assert names(list_inputs([image, image])) == [str(image)] * 2


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    images = make_files(tmp_path / "images", 1)
    (images / "link.png").symlink_to(images / "00000.png")
    (images / "around.png").symlink_to(images)
    (images / "circle").symlink_to(images)
    (images / "self.png").symlink_to("self.png")
    (images / "gone.png").symlink_to("nowhere")
    expected = ["00000.png", "gone.png", "link.png", "self.png"]
    assert names(list_inputs([images], as_dataset=True)) == expected
    (tmp_path / "to").symlink_to(images)
    assert names(list_inputs([tmp_path / "to"], as_dataset=True)) == expected


def test_a_name_that_is_no_text_has_its_bytes_written_out(tmp_path: Path) -> None:
    image = os.fsencode(make_files(tmp_path, 1) / "00000.png")
    Path(os.fsdecode(image)).rename(os.fsdecode(image.replace(b"00000", b"\xff\xe4")))
    found = list_inputs([tmp_path], as_dataset=True)
    assert names(found) == ["\\xff\\xe4.png"]
    (path,) = found.fetch(0, 1)
    assert isinstance(path, Path)
    assert path.exists()


def test_a_folder_without_images_and_a_pipe_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NoImagesError, match="no image in"):
        list_inputs([tmp_path])
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(NoImagesError, match=r"pipe\.png is no file"):
        list_inputs([tmp_path / "pipe.png"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_can_not_be_listed_is_an_error_not_a_gap(folder: Path) -> None:
    (folder / "a").chmod(0)
    try:
        with pytest.raises(DataError, match="can't be listed"):
            list_inputs([folder])
    finally:
        (folder / "a").chmod(0o755)


def test_the_fingerprint_tells_names_sizes_and_times(folder: Path, tmp_path: Path) -> None:
    def told() -> str:
        return list_inputs([folder], as_dataset=True).fingerprint()

    first, file = told(), folder / "00000.png"
    assert told() == first
    seen = {first}
    os.utime(file, ns=(0, 0))
    seen.add(told())
    file.write_bytes(file.read_bytes() + b" ")
    os.utime(file, ns=(0, 0))
    seen.add(told())
    file.rename(folder / "00000a.png")
    seen.add(told())
    assert len(seen) == 4


def test_a_slice_goes_over_the_borders_of_what_was_named(tmp_path: Path) -> None:
    make_files(tmp_path / "a", 3)
    array = tmp_path / "b.npy"
    images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    np.save(array, images)
    single = make_files(tmp_path / "c", 1) / "00000.png"
    found = list_inputs([tmp_path / "a", array, single])
    assert len(found) == 8
    assert found.names(2, 8) == [
        str(tmp_path / "a" / "00002.png"),
        *(f"{array}[{index}]" for index in range(4)),
        str(single),
    ]
    first, *pixels, last = found.fetch(2, 8)
    assert (first, last) == (tmp_path / "a" / "00002.png", single)
    assert np.array_equal(np.stack(pixels)[..., 0], images)  # type: ignore[arg-type]
    assert found.fetch(3, 3) == []
