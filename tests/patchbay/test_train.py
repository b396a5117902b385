"""What the network's input is when images have other channels than it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.patchbay.running import NET, run_command

QUICKEST = ("--data", "digits", "--classes", "0,1", "--epochs", "1")


@pytest.mark.parametrize(
    "network",
    [
        ("--architecture", "torchvision.resnet18"),
        (*NET, "--argument", "in_channels=3"),
        (*NET, "--channels", "3"),
    ],
)
def test_a_network_of_three_channels_learns_grey_images_and_predicts_them(
    network: tuple[str, ...], tmp_path: Path, digit_files: Path
) -> None:
    home = ("--home", str(tmp_path / "home"))
    trained = run_command("train", "rgb", *QUICKEST, *network, *home, "--json")
    assert trained.code == 0, trained.err
    assert trained.err == ""
    uri = trained.json["uri"]
    answer = run_command("predict", uri, str(digit_files), *home, "--json")
    assert answer.code == 0, answer.err
    assert {one["label"] for one in answer.json["predictions"]} <= {"0", "1"}


def test_channels_that_contradict_the_network_s_argument_are_refused(tmp_path: Path) -> None:
    contradiction = (*NET, "--channels", "1", "--argument", "in_channels=3")
    ran = run_command("train", "x", *QUICKEST, *contradiction, "--home", str(tmp_path / "home"))
    assert ran.code == 2
    assert "--channels 1 and in_channels=3" in ran.err


def test_a_network_that_does_not_take_the_input_is_told_which_it_would_get(tmp_path: Path) -> None:
    one = ("--architecture", "torchvision.resnet18", "--channels", "1")
    ran = run_command("train", "x", *QUICKEST, *one, "--home", str(tmp_path / "home"))
    assert ran.code == 1
    assert "(1, 8, 8)" in ran.err
