"""A test prediction: what a model answered on two fixed images when it was registered."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from threading import Lock
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from modularizer.classifier import inference
from modularizer.devices import arithmetic, device_of
from modularizer.memory import largest_layer_bytes
from modularizer.preprocessing import Preprocessing
from registry.bundles.manifest import Probe
from registry.errors import BundleError

IMAGES = 2
MAX_LAYER_BYTES = 2 * 2**30
"""Of the inputs and outputs of one layer, for these images."""

TOLERANCE = 1e-3
"""Of an answer's largest number. Other processors, threads and releases of torch round otherwise,
by some 1e-6 of it; another network or other weights are off by far more."""

T = TypeVar("T")

_arithmetic = Lock()  # it is the whole process's: two that set it at once would not put it back

_MULTIPLIER = 2654435761  # Knuth's multiplicative hash: noise that no library can change


def probe_images(preprocessing: Preprocessing) -> Tensor:
    """Two images of noise, uint8 (2, height, width, channels), always the same of one size."""
    shape = (IMAGES, *preprocessing.size, preprocessing.channels)
    index = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
    noise = (index * np.uint64(_MULTIPLIER) & np.uint64(0xFFFFFFFF)) >> np.uint64(24)
    return torch.from_numpy(noise.astype(np.uint8).reshape(shape))


def probe_of(model: torch.nn.Module, preprocessing: Preprocessing) -> Probe:
    """What a model answers on the fixed images, to be stored with it.

    Args:
        model: uint8 images (N, H, W, C) to scores (N, classes), or (N,) of a class module. A copy
            of it is run on the CPU if it is elsewhere, as that is where it will be compared.
        preprocessing: gives the images' size.

    Raises:
        BundleError: if an answer is NaN or infinite.
    """
    elsewhere = any(tensor.device.type != "cpu" for tensor in model.state_dict().values())
    answers = _answers(deepcopy(model).cpu() if elsewhere else model, preprocessing)
    if not bool(torch.isfinite(answers).all()):
        raise BundleError("the model answers NaN or infinity on a test image; it is broken")
    return Probe(outputs=tuple(tuple(row) for row in answers.tolist()))


def require_room(skeleton: torch.nn.Module, preprocessing: Preprocessing) -> None:
    """Refuse a network whose test prediction would take more memory than any is worth.

    How large the images are says the bundle, and whoever wrote it.

    Args:
        skeleton: the network on ``meta``: nothing is computed.
        preprocessing: gives the images' size.

    Raises:
        BundleError: if a layer's inputs and outputs take more than `MAX_LAYER_BYTES`, or the
            network doesn't take the images.
    """
    shape = (IMAGES, preprocessing.channels, *preprocessing.size)
    images = torch.empty(shape, device="meta")
    needed = _quietly(lambda: largest_layer_bytes(skeleton, images))
    if needed > MAX_LAYER_BYTES:
        height, width = preprocessing.size
        raise BundleError(
            f"on images of {height} x {width} a layer of its network takes {needed} bytes for a "
            f"test prediction; at most {MAX_LAYER_BYTES} are allowed"
        )


def require_same_answers(
    model: torch.nn.Module, preprocessing: Preprocessing, outputs: int, probe: Probe | None
) -> None:
    """Run a model that was put together from a bundle, and compare it with what it once answered.

    Args:
        model: as for `probe_of`; it is run where it is.
        preprocessing: gives the images' size.
        outputs: how many scores it has to give.
        probe: stored with it; None for bundles of the first format, which are only run.

    Raises:
        BundleError: if it doesn't run, gives another number of scores, or other ones.
    """
    found = _quietly(lambda: _answers(model, preprocessing))
    if found.shape[1] != outputs:
        raise BundleError(
            f"expected one score for each of {outputs} classes, found {found.shape[1]}"
        )
    if probe is None:
        return
    expected = torch.tensor(probe.outputs)
    if expected.shape != found.shape:
        raise BundleError(
            f"its test prediction has the shape {tuple(expected.shape)}, its network gives "
            f"{tuple(found.shape)}"
        )
    off = float((found - expected).abs().max())
    allowed = TOLERANCE * max(1.0, float(expected.abs().max()))
    if not off <= allowed:
        raise BundleError(
            f"it doesn't answer a test image as it did when it was registered: a score is off by "
            f"{off:.3g}, {allowed:.3g} is allowed"
        )


def _answers(model: torch.nn.Module, preprocessing: Preprocessing) -> Tensor:
    with _arithmetic, inference(model), arithmetic("float32"):
        scores: Tensor = model(probe_images(preprocessing).to(device_of(model)))
    return scores.reshape(IMAGES, -1).to("cpu", torch.float32)


def _quietly(run: Callable[[], T]) -> T:
    try:
        return run()
    except Exception as error:  # networks from anywhere: sizes that don't fit fail in many ways
        raise BundleError(
            f"the network doesn't take the images it was stored with: {str(error)[:200]}"
        ) from error
