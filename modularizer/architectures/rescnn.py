"""ResCNN: a plain network with skip connections, and its simple weak version (section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from modularizer.architectures.layers import (
    conv_block,
    initialise_convolutions,
    require_poolable,
    scaled,
)

PAPER_WIDTHS = (64, 128, 256, 512, 512, 512)


class Residual(nn.Module):
    """Two convolution blocks of one width with a skip connection around both."""

    def __init__(self, width: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_block(width, width, batch_norm=batch_norm),
            conv_block(width, width, batch_norm=batch_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x`` plus what the two blocks make of it, same shape (N, width, H, W)."""
        return x + self.body(x)  # type: ignore[no-any-return]


class ResCNN(nn.Module):
    """Twelve 3 x 3 convolutions with three skip connections, five pools, one linear layer.

    Args:
        num_classes: outputs.
        widths: kernels of the six convolutions outside skip connections; a skip connection
            follows the second, fourth and sixth and has its width.
        in_channels: channels of the input.
        input_size: height and width of the input in pixels; halved five times.
        batch_norm: a batch norm after each convolution (the paper has none).
        dropout: before the linear layer, in [0, 1).

    Raises:
        ArchitectureError: if the input is smaller than 32 pixels.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        widths: Sequence[int] = PAPER_WIDTHS,
        in_channels: int = 3,
        input_size: int = 32,
        batch_norm: bool = False,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        side = require_poolable(input_size, pools=5)
        first, second, third, fourth, fifth, sixth = widths

        def block(in_width: int, width: int, *, pool: bool = True) -> nn.Sequential:
            layers: list[nn.Module] = [conv_block(in_width, width, batch_norm=batch_norm)]
            return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []))

        self.features = nn.Sequential(
            block(in_channels, first, pool=False),
            block(first, second),
            Residual(second, batch_norm=batch_norm),
            block(second, third),
            block(third, fourth),
            Residual(fourth, batch_norm=batch_norm),
            block(fourth, fifth),
            block(fifth, sixth),
            Residual(sixth, batch_norm=batch_norm),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(sixth * side * side, num_classes)
        )
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores (N, num_classes) of float images (N, in_channels, size, size)."""
        return self.classifier(self.features(x).flatten(1))  # type: ignore[no-any-return]


class SimpleResCNN(nn.Module):
    """The simple weak ResCNN: four convolutions, one skip connection, one linear layer.

    Args:
        num_classes: outputs.
        width: kernels of each convolution (64 in the paper).
        in_channels: channels of the input.
        input_size: height and width of the input in pixels; halved twice.
        batch_norm: a batch norm after each convolution.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        width: int = 64,
        in_channels: int = 3,
        input_size: int = 32,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        side = require_poolable(input_size, pools=2)
        self.features = nn.Sequential(
            conv_block(in_channels, width, batch_norm=batch_norm),
            nn.MaxPool2d(2),
            conv_block(width, width, batch_norm=batch_norm),
            nn.MaxPool2d(2),
            Residual(width, batch_norm=batch_norm),
        )
        self.classifier = nn.Linear(width * side * side, num_classes)
        initialise_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Raw scores (N, num_classes) of float images (N, in_channels, size, size)."""
        return self.classifier(self.features(x).flatten(1))  # type: ignore[no-any-return]


def rescnn(
    num_classes: int,
    *,
    width_multiplier: float = 1.0,
    in_channels: int = 3,
    input_size: int = 32,
    batch_norm: bool = False,
    dropout: float = 0.4,
) -> ResCNN:
    """ResCNN at the paper's widths times ``width_multiplier``."""
    return ResCNN(
        num_classes,
        widths=scaled(PAPER_WIDTHS, width_multiplier),
        in_channels=in_channels,
        input_size=input_size,
        batch_norm=batch_norm,
        dropout=dropout,
    )


def simple_rescnn(
    num_classes: int,
    *,
    width: int = 64,
    in_channels: int = 3,
    input_size: int = 32,
    batch_norm: bool = False,
) -> SimpleResCNN:
    """The simple weak ResCNN at the paper's width, or another."""
    return SimpleResCNN(
        num_classes,
        width=width,
        in_channels=in_channels,
        input_size=input_size,
        batch_norm=batch_norm,
    )
