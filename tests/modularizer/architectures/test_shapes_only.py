from __future__ import annotations

import subprocess
import sys

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
print([name for name in ("mlflow", "torch._dynamo") if name in sys.modules])
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
