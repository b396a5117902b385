"""A network together with all that is needed to use it on an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.errors import ModularizerError
from modularizer.preprocessing import Preprocessing, as_tensor


class Classifier(nn.Module):
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
        super().__init__()
        self.network = network
        self.architecture = architecture
        self.preprocessing = preprocessing
        self.class_names = tuple(class_names)

    def run(self, prepared: Tensor) -> Tensor:
        """Raw scores (logits) of prepared images: float32 (N, classes)."""
        scores: Tensor = self.network(prepared)
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
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with inference(model):
        batches = [
            model(as_tensor(images[start : start + batch_size], device)).cpu()
            for start in range(0, max(len(images), 1), batch_size)
        ]
    scores: NDArray[np.float32] = torch.cat(batches).numpy()
    return scores
