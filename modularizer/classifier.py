"""A network together with all that is needed to use it on an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.devices import device_of
from modularizer.errors import ModularizerError
from modularizer.preprocessing import Preprocessing, as_tensor


def takes_channels_last(network: nn.Module, prepared: Tensor) -> bool:
    """Whether a network runs on images whose channels lie innermost in memory.

    They do as images are prepared, and convolutions are faster on them; but ``view`` after a
    convolution fails there, with a message of torch's own.

    Args:
        network: to try on the first image, in evaluation mode.
        prepared: float (N, C, H, W).
    """
    try:
        with inference(network):
            network(prepared[:1].clone(memory_format=torch.channels_last))  # some write into it
    except RuntimeError as error:
        return "view size is not compatible" not in str(error)
    return True


def channels_outermost(prepared: Tensor) -> Tensor:
    """A copy laid out in memory as torch does by itself.

    ``contiguous()`` is no way to it: images of one channel count as contiguous in either layout.
    """
    return prepared.clone(memory_format=torch.contiguous_format)


class ImageNetwork(nn.Module):
    """A network with its preprocessing, which gets images in a memory layout that it takes.

    Args:
        network: prepared float32 (N, channels, height, width) to scores.
        preprocessing: what it wants done to an image.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.preprocessing = preprocessing
        self._any_layout: bool | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def go_on_with(self, network: nn.Module) -> None:
        """Use another network, which gives the same scores, from now on."""
        self.network = network
        self._any_layout = None

    def laid_out(self, prepared: Tensor) -> Tensor:
        """The same images, copied only if the network doesn't take them as they lie in memory."""
        if prepared.stride(1) != 1 or not len(prepared):  # channels are not innermost
            return prepared
        if self._any_layout is None:
            self._any_layout = takes_channels_last(self.network, prepared)
        return prepared if self._any_layout else channels_outermost(prepared)

    def prepare(self, images: Tensor) -> Tensor:
        """The network's input, float32 (N, channels, *size), of uint8 images (N, H, W, C)."""
        return self.laid_out(self.preprocessing.prepare(images))


class Classifier(ImageNetwork):
    """A network with its structure's name, its preprocessing and its class names.

    Args:
        network: prepared float32 (N, channels, height, width) to raw scores (N, classes).
        architecture: how to build ``network`` again, without weights.
        preprocessing: what the network wants done to an image.
        class_names: one for each output, in output order.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        architecture: ArchitectureSpec,
        preprocessing: Preprocessing,
        class_names: Sequence[str],
    ) -> None:
        super().__init__(network, preprocessing)
        self.architecture = architecture
        self.class_names = tuple(class_names)

    def run(self, prepared: Tensor) -> Tensor:
        """Raw scores (logits) of prepared images: float32 (N, classes)."""
        scores: Tensor = self.network(self.laid_out(prepared))
        return scores

    def forward(self, images: Tensor) -> Tensor:
        """Raw scores (logits) of uint8 images (N, H, W, C): float32 (N, classes)."""
        return self.run(self.preprocessing.prepare(images))

    def class_index(self, class_name: str) -> int:
        """The output that scores ``class_name``.

        Raises:
            ModularizerError: if the classifier has no such class.
        """
        if class_name not in self.class_names:
            raise ModularizerError(
                f"the model has no class {class_name!r}; it has {', '.join(self.class_names)}"
            )
        return self.class_names.index(class_name)


@contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the model's own mode comes back, error or not."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, was_training in training.items():
            module.training = was_training


def predict(
    model: nn.Module, images: NDArray[np.uint8], *, batch_size: int = 500
) -> NDArray[np.float32]:
    """Run any model that takes uint8 images over many of them, in batches.

    Args:
        model: a `Classifier`, a class module, a composed or a patched classifier.
        images: uint8 (N, H, W, C).
        batch_size: images a batch; bounds the memory.

    Returns:
        float32, (N, ...): whatever the model gives for each image.
    """
    device = device_of(model)
    with inference(model):
        batches = [
            model(as_tensor(images[start : start + batch_size], device)).cpu()
            for start in range(0, max(len(images), 1), batch_size)
        ]
    scores: NDArray[np.float32] = torch.cat(batches).numpy()
    return scores


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients of weights; both come back, error or not."""
    training = {module: module.training for module in network.modules()}
    wanted = {parameter: parameter.requires_grad for parameter in network.parameters()}
    network.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, was_training in training.items():
            module.training = was_training
        for parameter, was_wanted in wanted.items():
            parameter.requires_grad_(was_wanted)
