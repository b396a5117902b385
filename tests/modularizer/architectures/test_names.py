"""The allow-list: what torchvision offers and no more, and what installed packages offer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modularizer.architectures.catalogue import arguments_of, build_network
from modularizer.architectures.names import TORCHVISION, architecture_names
from modularizer.architectures.simcnn import SimCNN
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.errors import ArchitectureError

TRANSFORMERS = ("vit_", "swin_", "maxvit_")

NETWORK = """
from torch import nn

def tiny(num_classes, *, in_channels=1, width=4):
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3), nn.Flatten(), nn.Linear(width * 36, num_classes)
    )

def not_a_network(num_classes):
    return [num_classes]

def broken(num_classes):
    raise KeyError("width")

three = 3
"""


def install(folder: Path, package: str, points: str, source: str = NETWORK) -> None:
    """What an installer leaves: the package, and a folder that says what it offers."""
    (folder / f"{package}.py").write_text(source)
    about = folder / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[patchbay.architectures]\n{points}\n")


def test_torchvision_s_names_are_those_of_its_cnn_classifiers() -> None:
    from torchvision import models

    offered = {
        f"torchvision.{name}"
        for name in models.list_models(module=models)
        if not name.startswith(TRANSFORMERS)
    }
    assert set(TORCHVISION) == offered
    assert len(set(TORCHVISION)) == len(TORCHVISION)


def test_names_are_told_without_importing_what_is_behind_them(tmp_path: Path) -> None:
    install(tmp_path, "loud", "loud = loud:build", source="raise SystemExit('imported')\n")
    code = (
        "import sys; from modularizer.architectures.names import architecture_names as names;"
        "assert {'simcnn', 'torchvision.vgg16', 'loud'} <= set(names());"
        "print(sorted({'torch', 'torchvision', 'loud'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]; {code}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (shown.stdout, shown.stderr) == ("[]\n", "")


def test_what_an_installed_package_offers_is_built_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "offers_tiny", "tiny = offers_tiny:tiny")
    monkeypatch.syspath_prepend(tmp_path)
    assert "tiny" in architecture_names()
    assert arguments_of("tiny") == {"num_classes", "in_channels", "width"}
    spec = ArchitectureSpec(name="tiny", arguments={"num_classes": 3, "width": 5})
    network = build_network(spec, device="meta")
    assert {p.device.type for p in network.parameters()} == {"meta"}
    assert build_network(spec)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    with pytest.raises(ArchitectureError, match=r"tiny can't be built from .*unexpected keyword"):
        build_network(ArchitectureSpec(name="tiny", arguments={"num_classes": 3, "depth": 5}))


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("mine = offers_broken:missing", "of the package offers_broken .*can't be imported"),
        ("mine = offers_nothing:tiny", "of the package offers_broken .*No module named"),
        ("mine = offers_broken:three", "is a int; expected a function"),
        ("mine = offers_broken:not_a_network", "gives a list, no nn.Module"),
        ("mine = offers_broken:broken", "mine can't be built from .*'width'"),
    ],
)
def test_a_broken_offer_is_named_with_its_package(
    point: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "offers_broken", point)
    monkeypatch.syspath_prepend(tmp_path)
    assert "mine" in architecture_names()
    with pytest.raises(ArchitectureError, match=message):
        build_network(ArchitectureSpec(name="mine", arguments={"num_classes": 3}))


@pytest.mark.parametrize("name", ["simcnn", "torchvision.resnet18", "torchvision.mine"])
def test_a_name_of_ours_can_not_be_taken(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = architecture_names()
    install(tmp_path, "offers_ours", f"{name} = offers_ours:not_a_network")
    monkeypatch.syspath_prepend(tmp_path)
    assert architecture_names() == before
    ours = build_network(
        ArchitectureSpec(name="simcnn", arguments={"num_classes": 3}), device="meta"
    )
    assert isinstance(ours, SimCNN)


def test_a_name_that_two_packages_offer_is_refused_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("one_tiny", "other_tiny"):
        install(tmp_path, package, f"tiny = {package}:tiny")
    install(tmp_path, "third", "alone = third:tiny")
    monkeypatch.syspath_prepend(tmp_path)
    assert {"tiny", "alone"} <= set(architecture_names())
    with pytest.raises(ArchitectureError, match=r"one_tiny and .*other_tiny offer .*'tiny' each"):
        build_network(ArchitectureSpec(name="tiny", arguments={"num_classes": 3}))
    build_network(ArchitectureSpec(name="alone", arguments={"num_classes": 3}), device="meta")
