from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from modularizer.architectures.catalogue import build_network
from modularizer.architectures.shapes_only import ShapesOnly
from modularizer.architectures.spec import ArchitectureSpec

SPECS = [
    ArchitectureSpec(name=name, arguments={"num_classes": 3, "batch_norm": batch_norm})
    for name in ("simcnn", "rescnn", "simple_simcnn", "simple_rescnn")
    for batch_norm in (False, True)
]

LOAD = """
import sys
import registry.registry
from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
for name in ("simcnn", "rescnn"):
    spec = ArchitectureSpec(name=name, arguments={"num_classes": 3, "batch_norm": True})
    slicing_plan(build_network(spec, device="meta"), (3, 32, 32))
print([name for name in ("mlflow", "torch._dynamo", "sympy") if name in sys.modules])
"""


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_shapes_are_those_of_torch(spec: ArchitectureSpec) -> None:
    expected = build_network(spec).eval()
    found = build_network(spec, device="meta").eval()
    image = torch.empty(2, 3, 32, 32)
    with ShapesOnly():
        scores = found(image.to("meta"))
    assert scores.shape == expected(image).shape
    assert {k: v.shape for k, v in found.state_dict().items()} == {
        k: v.shape for k, v in expected.state_dict().items()
    }


def test_a_linear_layer_of_another_width_is_still_refused() -> None:
    layer = torch.nn.Linear(4, 2, device="meta")
    with ShapesOnly(), pytest.raises(RuntimeError, match="takes 4 values, found 5"):
        layer(torch.empty(1, 5, device="meta"))


def test_real_tensors_are_computed_as_ever() -> None:
    network = build_network(ArchitectureSpec(name="simcnn", arguments={"num_classes": 3})).eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        expected = network(image)
        with ShapesOnly():
            assert torch.equal(network(image), expected)


def test_getting_ready_to_load_imports_neither_mlflow_nor_the_compiler() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", LOAD], check=True, capture_output=True, text=True
    )
    assert (answer.stdout, answer.stderr) == ("[]\n", "")


def test_schedules_that_builders_read_have_values_on_meta() -> None:
    with torch.device("meta"), ShapesOnly():
        rates = torch.linspace(0, 0.5, 3).tolist()
        widths = (torch.arange(3) * 8 + torch.tensor([1, 2, 3])).tolist()
        weight = torch.nn.Conv2d(3, 4, 1).weight
    assert rates == [0.0, 0.25, 0.5]
    assert widths == [1, 10, 19]
    assert weight.is_meta


@pytest.mark.parametrize(
    ("make", "channels"),
    [
        (lambda: torch.nn.Conv2d(4, 6, 3), 4),
        (lambda: torch.nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2)), 4),
        (lambda: torch.nn.Conv2d(4, 6, 3, dilation=2, groups=2, padding=1), 4),
        (lambda: torch.nn.Conv2d(4, 6, 3, padding="same"), 4),
        (lambda: torch.nn.MaxPool2d(3, stride=2, padding=1), 4),
        (lambda: torch.nn.MaxPool2d(2), 4),
        (lambda: torch.nn.MaxPool2d(3, stride=2, ceil_mode=True), 4),
        (lambda: torch.nn.MaxPool2d(3, dilation=2), 4),
        (lambda: torch.nn.AvgPool2d((2, 3), padding=1), 4),
        (lambda: torch.nn.AvgPool2d(3, stride=2, ceil_mode=True), 4),
    ],
)
@pytest.mark.parametrize("size", [(9, 10), (16, 7)])
def test_windows_give_the_shapes_of_torch(
    make: Callable[[], torch.nn.Module], channels: int, size: tuple[int, int]
) -> None:
    layer, image = make(), torch.empty(2, channels, *size)
    expected = layer(image).shape
    with ShapesOnly():
        assert layer.to("meta")(image.to("meta")).shape == expected


@pytest.mark.parametrize(
    ("layer", "shape", "complaint"),
    [
        (torch.nn.Conv2d(4, 6, 3), (1, 5, 8, 8), "takes 4 channels, found 5"),
        (torch.nn.Conv2d(4, 6, 9), (1, 4, 8, 8), "doesn't fit"),
        (torch.nn.MaxPool2d(9), (1, 4, 8, 8), "doesn't fit"),
    ],
)
def test_what_torch_refuses_is_refused(
    layer: torch.nn.Module, shape: tuple[int, ...], complaint: str
) -> None:
    with pytest.raises(RuntimeError):
        layer(torch.empty(shape))
    with ShapesOnly(), pytest.raises(RuntimeError, match=complaint):
        layer.to("meta")(torch.empty(shape, device="meta"))
