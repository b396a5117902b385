"""SimCNN: a plain VGG-like network, and its simple weak version (section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from modularizer.architectures.layers import (
    conv_block,
    initialise_convolutions,
    require_poolable,
    scaled,
)

PAPER_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
PAPER_HIDDEN = (512, 512)


class SimCNN(nn.Module):
    """Stages of 3 x 3 convolutions, each ended by a 2 x 2 max pool, then fully connected layers.

    Args:
        num_classes: outputs.
        stages: kernels of each convolution, stage by stage.
        hidden: widths of the fully connected layers before the last one.
        in_channels: channels of the input.
        input_size: height and width of the input in pixels; halved by each stage.
        batch_norm: a batch norm after each convolution (the paper has none).
        dropout: before each hidden layer, in [0, 1).

    Raises:
        ArchitectureError: if the input is too small for that many stages.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        stages: Sequence[Sequence[int]] = PAPER_STAGES,
        hidden: Sequence[int] = PAPER_HIDDEN,
        in_channels: int = 3,
        input_size: int = 32,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        side = require_poolable(input_size, pools=len(stages))
        layers: list[nn.Module] = []
        width = in_channels
        for stage in stages:
            for kernels in stage:
                layers.append(conv_block(width, kernels, batch_norm=batch_norm))
                width = kernels
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        head: list[nn.Module] = []
        width *= side * side
        for size in hidden:
            head += [nn.Dropout(dropout), nn.Linear(width, size), nn.ReLU(inplace=True)]
            width = size
        self.classifier = nn.Sequential(*head, nn.Linear(width, num_classes))
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores (N, num_classes) of float images (N, in_channels, size, size)."""
        return self.classifier(self.features(x).flatten(1))  # type: ignore[no-any-return]


def simcnn(
    num_classes: int,
    *,
    stages: Sequence[Sequence[int]] = PAPER_STAGES,
    hidden: Sequence[int] = PAPER_HIDDEN,
    width_multiplier: float = 1.0,
    in_channels: int = 3,
    input_size: int = 32,
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> SimCNN:
    """SimCNN at the paper's widths times ``width_multiplier`` (hidden layers too)."""
    return SimCNN(
        num_classes,
        stages=[scaled(stage, width_multiplier) for stage in stages],
        hidden=scaled(hidden, width_multiplier),
        in_channels=in_channels,
        input_size=input_size,
        batch_norm=batch_norm,
        dropout=dropout,
    )


def simple_simcnn(
    num_classes: int,
    *,
    widths: Sequence[int] = (64, 64),
    in_channels: int = 3,
    input_size: int = 32,
    batch_norm: bool = False,
) -> SimCNN:
    """The simple weak SimCNN: a convolution and a pool a stage, then one linear layer.

    The paper has two convolutions; its published code has four of 64 for CIFAR and two of 8
    for SVHN: ``widths`` says which.
    """
    return SimCNN(
        num_classes,
        stages=[(width,) for width in widths],
        hidden=(),
        in_channels=in_channels,
        input_size=input_size,
        batch_norm=batch_norm,
    )
