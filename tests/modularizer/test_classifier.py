from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from modularizer.architectures.simcnn import simcnn
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.classifier import Classifier, inference, predict
from modularizer.errors import ModularizerError
from modularizer.preprocessing import Preprocessing

GREY = Preprocessing(size=(8, 8), channels=1, mean=(0.5,), std=(0.25,))


def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(
        simcnn(3, stages=((4,),), hidden=(5,), in_channels=1, input_size=8, batch_norm=True),
        architecture=ArchitectureSpec(name="simcnn"),
        preprocessing=GREY,
        class_names=["a", "b", "c"],
    )


def test_predictions_do_not_depend_on_the_batch_size_or_the_mode() -> None:
    model = classifier().train()
    images = np.random.default_rng(0).integers(0, 256, (11, 9, 7, 3), dtype=np.uint8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    together = predict(model, images)
    assert together.shape == (11, 3)
    assert together.dtype == np.float32
    for size in (1, 4, 11, 500):
        np.testing.assert_allclose(predict(model, images, batch_size=size), together, atol=1e-5)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        expected = model(torch.from_numpy(images))
    np.testing.assert_allclose(together, expected.numpy(), atol=1e-5)


def test_no_image_gives_no_prediction() -> None:
    assert predict(classifier(), np.zeros((0, 8, 8, 1), np.uint8)).shape == (0, 3)
    assert predict(classifier(), np.zeros((0, 9, 9, 3), np.uint8)).shape == (0, 3)


def test_inference_gives_each_layer_s_own_mode_back_also_on_an_error() -> None:
    model = classifier().train()
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    norm.eval()
    before = [module.training for module in model.modules()]
    weight = next(model.parameters())
    with inference(model):
        assert not any(module.training for module in model.modules())
        inside: Tensor = weight * 2
    assert not inside.requires_grad
    assert [module.training for module in model.modules()] == before
    with pytest.raises(ZeroDivisionError), inference(model):
        raise ZeroDivisionError
    assert [module.training for module in model.modules()] == before
    assert torch.is_grad_enabled()


def test_a_class_is_found_by_its_name() -> None:
    model = classifier()
    assert model.class_names == ("a", "b", "c")
    assert [model.class_index(name) for name in "abc"] == [0, 1, 2]
    with pytest.raises(ModularizerError, match="no class 'd'; it has a, b, c"):
        model.class_index("d")
