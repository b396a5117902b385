"""What is measured, and how often."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1, le=4096)]


class InferenceSettings(BaseModel):
    """How the networks are made and measured.

    Attributes:
        architecture: of the weak and the strong network.
        width: SimCNN's widths, as a share of the paper's; ResCNN has its own only.
        side: height and width of the images, in pixels.
        batches: images at once.
        repeats: times that each row is run at each batch; 50 at least for an aim to be judged.
        modules: how many class modules the rows of several have.
        kept_share: of the strong network's kernels in each module, about.
        device: where it runs.
        precision: ``tf32`` lets a GPU's convolutions round to 10 bits.
        threads: of one operation, on a CPU.
        compiled: whether there are rows by ``torch.compile``, which take minutes.
        processes: whether there is a row of two processes.
        memory: whether memory is measured, by a process for each row.
        seed: of weights, masks, images and order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["simcnn", "rescnn"] = "simcnn"
    width: Annotated[float, Field(gt=0, le=1)] = 1.0
    side: Annotated[int, Field(ge=32, le=256)] = 32
    batches: tuple[Count, ...] = (1, 8, 32, 128)
    repeats: Annotated[int, Field(ge=1, le=100_000)] = 60
    modules: tuple[Count, ...] = (2, 4, 8)
    kept_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "tf32"] = "float32"
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    compiled: bool = False
    processes: bool = True
    memory: bool = True
    seed: int = 0

    def arguments(self) -> dict[str, Any]:
        """What the architecture's builder takes."""
        if self.architecture == "rescnn":
            return {"num_classes": 10, "input_size": self.side}
        return {"num_classes": 10, "width_multiplier": self.width, "input_size": self.side}
