from __future__ import annotations

import pytest
import torch

from serving.engine.executor import SequentialExecutor, StreamExecutor, choose_executor
from serving.errors import SettingsError
from tests.serving.samples import make_patched, random_images

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_branches_run_in_turn_on_their_own_inputs() -> None:
    model = make_patched()
    images = torch.from_numpy(random_images(5, 8, 8, 1))
    with torch.inference_mode():
        inputs = model.prepare(images)
        outputs = SequentialExecutor().run(model.branches, inputs)
        assert torch.equal(model.combine(outputs).scores, model(images))


def test_as_many_inputs_as_branches_are_needed() -> None:
    model = make_patched()
    with pytest.raises(ValueError, match="zip"):
        SequentialExecutor().run(model.branches, [])


def test_the_cpu_runs_branches_in_turn() -> None:
    assert isinstance(choose_executor("cpu"), SequentialExecutor)


@NO_CUDA
def test_auto_is_the_cpu_without_a_device() -> None:
    assert choose_executor("auto").device == torch.device("cpu")


@NO_CUDA
def test_asking_for_cuda_without_a_device_is_an_error() -> None:
    with pytest.raises(SettingsError, match="finds no CUDA device"):
        choose_executor("cuda")


@pytest.mark.gpu
@CUDA
def test_streams_equal_branches_in_turn() -> None:
    model = make_patched().cuda()
    executor = choose_executor("auto")
    assert isinstance(executor, StreamExecutor)
    for seed in range(20):
        images = torch.from_numpy(random_images(64, 8, 8, 1, seed=seed)).cuda()
        with torch.inference_mode():
            inputs = model.prepare(images)
            side_by_side = executor.run(model.branches, inputs)
            in_turn = SequentialExecutor("cuda").run(model.branches, inputs)
        for a, b in zip(side_by_side, in_turn, strict=True):
            assert torch.allclose(a, b, atol=1e-5)
