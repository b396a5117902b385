from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from modularizer.architectures.catalogue import arguments_of, build_network
from modularizer.architectures.names import OWN
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.errors import ArchitectureError

SMALL: dict[str, dict[str, Any]] = {
    "simcnn": {"width_multiplier": 1 / 32},
    "simple_simcnn": {"widths": [4, 4]},
    "rescnn": {"width_multiplier": 1 / 64},
    "simple_rescnn": {"width": 4},
    "torchvision.resnet18": {},
    "torchvision.regnet_y_400mf": {},
}


def test_every_network_of_our_own_builds_a_classifier() -> None:
    assert set(OWN) < set(SMALL)
    for name, arguments in SMALL.items():
        spec = ArchitectureSpec(name=name, arguments={**arguments, "num_classes": 3})
        network = build_network(spec, device="meta").eval()
        scores = network(torch.empty(2, 3, 32, 32, device="meta"))
        assert scores.shape == (2, 3)
        assert {p.device.type for p in network.parameters()} == {"meta"}


def test_a_spec_that_went_through_json_builds_the_same_network() -> None:
    spec = ArchitectureSpec(
        name="simcnn",
        arguments={"num_classes": 3, "stages": [[2, 3], [4]], "hidden": [5], "input_size": 8},
    )
    again = ArchitectureSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    shapes = [
        {name: tuple(p.shape) for name, p in build_network(one, device="meta").named_parameters()}
        for one in (spec, again)
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "os.system", "torch.load", "simcnn ", "__import__", "torchvision.vit_b_16"),
        *("torchvision.get_model", "torchvision.fcn_resnet50", "torchvision.", "torchvision"),
    ],
)
def test_a_name_that_is_not_on_the_allow_list_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ArchitectureError, match=r"there are .*rescnn, .*torchvision\.resnet18"):
        build_network(ArchitectureSpec(name=name))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("simcnn", {}),
        ("simcnn", {"num_classes": 3, "unheard_of": 1}),
        ("simcnn", {"num_classes": "three"}),
        ("simcnn", {"num_classes": -1}),
        ("simcnn", {"num_classes": 3, "stages": 5}),
        ("simcnn", {"num_classes": 3, "dropout": 2.0}),
        ("simcnn", {"num_classes": 3, "input_size": 4}),
        ("rescnn", {"num_classes": 3, "width_multiplier": "wide"}),
        ("simple_rescnn", {"num_classes": 3, "width": -4}),
        ("torchvision.resnet18", {}),
        ("torchvision.resnet18", {"num_classes": 3, "weights": "DEFAULT"}),
        ("torchvision.resnet18", {"num_classes": 3, "weights": None}),
        ("torchvision.resnet18", {"num_classes": 3, "pretrained": True}),
        ("torchvision.resnet18", {"num_classes": 3, "norm_layer": "BatchNorm2d"}),
        ("torchvision.resnet18", {"num_classes": 3, "model": "vit_b_16"}),
        ("torchvision.resnext50_32x4d", {"num_classes": 3, "groups": 2}),
        ("torchvision.googlenet", {"num_classes": 3, "aux_logits": True}),
    ],
)
def test_arguments_that_do_not_fit_are_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ArchitectureError):
        build_network(ArchitectureSpec(name=name, arguments=arguments), device="meta")


def test_an_architecture_says_which_arguments_it_takes() -> None:
    assert {"num_classes", "in_channels", "input_size"} <= arguments_of("rescnn")
    assert arguments_of("torchvision.resnet18") == {"num_classes"}


def test_a_spec_can_not_be_changed_or_extended() -> None:
    spec = ArchitectureSpec(name="simcnn")
    with pytest.raises(ValidationError):
        spec.name = "rescnn"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        ArchitectureSpec.model_validate({"name": "simcnn", "code": "x"})
    with pytest.raises(ValidationError):
        ArchitectureSpec(name="")
