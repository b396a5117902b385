"""A network together with all that is needed to use it on an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.devices import device_of
from modularizer.errors import ModularizerError
from modularizer.preprocessing import Preprocessing, as_tensor


@dataclass(frozen=True)
class InputNeeds:
    """How a network has to be given its images.

    Attributes:
        any_layout: whether it runs on images whose channels lie innermost in memory. They do as
            images are prepared, and convolutions are faster on them; but ``view`` after a
            convolution fails there.
        own_copy: whether it writes into them, as a first ReLU in place does.
    """

    any_layout: bool
    own_copy: bool


def input_needs(network: nn.Module, prepared: Tensor) -> InputNeeds:
    """Find out by running a network on a copy of the first image.

    Args:
        network: its mode stays as it is; it runs in evaluation mode.
        prepared: float (N, C, H, W) like those that it will get; at least one.

    Raises:
        Exception: whatever the network raises, but what torch says of a layout.
    """
    any_layout = True
    # Tensors count how often they were written into, but not those that inference mode makes.
    with inference(network), torch.inference_mode(mode=False), torch.no_grad():
        given = prepared[:1].clone(memory_format=torch.channels_last)
        written = given._version
        try:
            network(given)
        except RuntimeError as error:
            if "view size is not compatible" not in str(error):
                raise
            any_layout, given = False, channels_outermost(given)
            written = given._version
            network(given)
    return InputNeeds(any_layout, own_copy=given._version != written)


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
        self._needs: InputNeeds | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def go_on_with(self, network: nn.Module) -> None:
        """Use another network, which gives the same scores, from now on."""
        self.network = network
        self._needs = None

    def laid_out(self, prepared: Tensor) -> Tensor:
        """The same images as the network takes them, copied only if it needs to have them so.

        Others may be given the same images: they stay as they are.
        """
        if not len(prepared):
            return prepared
        if self._needs is None:
            try:
                self._needs = input_needs(self.network, prepared)
            except Exception:  # who runs it is told, and the next try may be another
                return prepared
        is_innermost = prepared.stride(1) == 1
        if is_innermost and not self._needs.any_layout:
            return channels_outermost(prepared)
        return prepared.clone() if self._needs.own_copy else prepared

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
