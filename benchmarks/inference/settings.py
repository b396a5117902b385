"""What is measured, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from modularizer.architectures.spec import ArchitectureSpec

Count = Annotated[int, Field(ge=1, le=4096)]

ALIGNMENT = 16
"""Channels that a CPU's or a GPU's kernels take at once."""

BATCHES = {"cpu": (1, 8, 32), "cuda": (1, 8, 32, 128, 512)}
"""Images at once, unless it is said otherwise."""


class RandomNetworks(BaseModel):
    """Networks with random weights: time does not depend on what the weights are.

    Attributes:
        architecture: of the weak and the strong network.
        width: their widths, as a share of the paper's.
        side: height and width of the images, in pixels.
        kept_share: of the strong network's kernels in each module, about.
        seed: of weights and masks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["random"] = "random"
    architecture: Literal["simcnn", "rescnn"] = "simcnn"
    width: Annotated[float, Field(gt=0, le=1)] = 1.0
    side: Annotated[int, Field(ge=32, le=256)] = 32
    kept_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    seed: int = 0

    @property
    def name(self) -> str:
        """What its rows are called."""
        return self.architecture if self.width == 1 else f"{self.architecture} x {self.width:g}"

    @property
    def spec(self) -> ArchitectureSpec:
        """How to build a network."""
        arguments: dict[str, Any] = {
            "num_classes": 10,
            "width_multiplier": self.width,
            "input_size": self.side,
        }
        return ArchitectureSpec(name=self.architecture, arguments=arguments)

    @property
    def has_strong(self) -> bool:
        """Whether there is a strong model."""
        return True

    def has_modules(self, count: int) -> bool:
        """Whether there are so many class modules."""
        return count <= 4096


def random_networks(
    architectures: Sequence[str], widths: Sequence[float], *, seed: int
) -> list[RandomNetworks]:
    """Each architecture at each width.

    Raises:
        pydantic.ValidationError: if there is no such architecture, or no such width.
    """
    return [
        RandomNetworks.model_validate({"architecture": name, "width": width, "seed": seed})
        for width in dict.fromkeys(widths)
        for name in dict.fromkeys(architectures)
    ]


class SavedNetworks(BaseModel):
    """Networks of a registered patched model, which another process has put into a folder.

    Attributes:
        uri: the model's address.
        folder: where they are.
        modules: how many class modules there are.
        has_strong: whether the strong model is there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["saved"] = "saved"
    uri: str
    folder: Annotated[Path, Field(exclude=True)]
    modules: Annotated[int, Field(ge=1)]
    has_strong: bool

    @property
    def name(self) -> str:
        """What its rows are called."""
        return self.uri

    def has_modules(self, count: int) -> bool:
        """Whether there are so many class modules."""
        return count <= self.modules


Networks = Annotated[RandomNetworks | SavedNetworks, Field(discriminator="kind")]


class InferenceSettings(BaseModel):
    """What is measured, and how often.

    Attributes:
        networks: which.
        batches: images at once.
        repeats: times that each row is run at each batch; 50 at least for an aim to be judged.
        modules: how many class modules the rows of several have, where there are so many.
        device: where it runs.
        precision: ``tf32`` lets a GPU's convolutions round to 10 bits.
        threads: of one operation, on a CPU.
        compiled: whether there are rows by ``torch.compile``, which take minutes.
        forms: whether the weak model and a module are measured in all forms, on a CPU, instead.
        processes: whether there is a row of two processes.
        memory: whether memory is measured, by a process for each row.
        seed: of images and order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: Networks = RandomNetworks()
    batches: tuple[Count, ...] = (1, 8, 32)
    repeats: Annotated[int, Field(ge=1, le=100_000)] = 60
    modules: tuple[Count, ...] = (2, 4, 8)
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32"] = "float32"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    compiled: bool = False
    forms: bool = False
    processes: bool = True
    memory: bool = True
    seed: int = 0
