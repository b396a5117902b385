"""What a search did, as plain numbers: enough to show it and to draw it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from modularizer.analysis.plan import SlicingPlan

Count = Annotated[int, Field(ge=0, lt=2**53)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=100_000)]


class SearchReport(BaseModel):
    """The history of a search and how the modules that it found differ.

    A segment's kernels are those that a mask can remove; a kernel that always stays is counted
    in ``kernels`` alone.

    Attributes:
        class_names: in output order.
        layers: each segment's layers, coupled ones joined by "+", in the order they run.
        segment_kernels: kernels of each segment.
        kernels: kernels of the whole network.
        kernels_kept: for each class, how many of each segment's kernels its module keeps.
        kernels_shared: for each class, how many kernels its module shares with that of each
            class up to and including itself: a triangle, whose last column is the modules' sizes.
        history: one mapping a generation (or epoch), metric name to value, in order.
        strong_accuracy: of the whole network, on validation images.
        random_accuracy: of models composed by random masks of the same size, one a draw.

    Example:
        >>> report = SearchReport(
        ...     class_names=("cat", "dog"), layers=("conv_0",), segment_kernels=(8,), kernels=8,
        ...     kernels_kept=((4,), (5,)), kernels_shared=((4,), (3, 5)),
        ...     history=({"fitness": 0.8},), strong_accuracy=0.9, random_accuracy=(0.5,),
        ... )
        >>> report.overlap().round(2).tolist()
        [[1.0, 0.5], [0.5, 1.0]]
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: Annotated[tuple[Name, ...], Field(min_length=1)]
    layers: Annotated[tuple[Name, ...], Field(min_length=1)]
    segment_kernels: tuple[Count, ...]
    kernels: Count
    kernels_kept: tuple[tuple[Count, ...], ...]
    kernels_shared: tuple[tuple[Count, ...], ...]
    history: tuple[dict[str, Finite], ...]
    strong_accuracy: Finite
    random_accuracy: tuple[Finite, ...]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        classes, segments = len(self.class_names), len(self.layers)
        if len(self.segment_kernels) != segments or 0 in self.segment_kernels:
            raise ValueError(f"expected a number of kernels above 0 for each of {segments} layers")
        if [len(row) for row in self.kernels_kept] != [segments] * classes:
            raise ValueError(f"expected kernels kept of {classes} classes x {segments} layers")
        if [len(row) for row in self.kernels_shared] != list(range(1, classes + 1)):
            raise ValueError(f"expected a triangle of kernels shared by {classes} classes")
        if [sum(row) for row in self.kernels_kept] != [row[-1] for row in self.kernels_shared]:
            raise ValueError("the kernels kept don't add up to the modules' sizes")
        return self

    def kept_share(self) -> NDArray[np.float64]:
        """The share of each segment's kernels that each module keeps: (classes, segments)."""
        kept = np.array(self.kernels_kept, dtype=np.float64)
        return kept / np.array(self.segment_kernels, dtype=np.float64)

    def overlap(self) -> NDArray[np.float64]:
        """How alike the modules are: Jaccard similarities of their kernels, (classes, classes).

        In [0, 1], symmetric; 1 on the diagonal and between two empty sets. 1 minus the mean
        off the diagonal is Diff.
        """
        classes = len(self.class_names)
        shared = np.zeros((classes, classes))
        for index, row in enumerate(self.kernels_shared):
            shared[index, : index + 1] = shared[: index + 1, index] = row
        sizes = shared.diagonal()
        union = sizes[:, None] + sizes[None, :] - shared
        return np.divide(shared, union, out=np.ones_like(shared), where=union > 0)

    def closest(self, class_name: str) -> list[tuple[str, float]]:
        """The other classes and their modules' similarity to this one's, most alike first.

        Raises:
            ValueError: if there is no such class.
        """
        index = self.class_names.index(class_name)
        alike = self.overlap()[index].tolist()
        others = list(zip(self.class_names, alike, strict=True))
        del others[index]
        return sorted(others, key=lambda pair: -pair[1])

    @property
    def layer_labels(self) -> tuple[str, ...]:
        """The first layer of each segment; "+2" stands for two more that are coupled with it."""
        segments = [layers.split("+") for layers in self.layers]
        return tuple(
            f"{first} +{len(coupled)}" if coupled else first for first, *coupled in segments
        )

    @property
    def step_name(self) -> str:
        """What a step of the history is: a generation, an epoch, or either."""
        learns = ["loss" in row for row in self.history]
        if not any(learns):
            return "generation"
        return "epoch" if all(learns) else "step"

    @property
    def best_generation(self) -> int:
        """The first generation with the highest fitness, counted from 1; 0 without a history."""
        fitness = [row.get("fitness", 0.0) for row in self.history]
        return fitness.index(max(fitness)) + 1 if fitness else 0


def report_search(
    plan: SlicingPlan,
    kept: Tensor,
    *,
    class_names: Sequence[str],
    history: Sequence[Mapping[str, float]],
    strong_accuracy: float,
    random_accuracy: Sequence[float],
) -> SearchReport:
    """Sum up what a search found.

    Args:
        plan: the strong network's slicing plan.
        kept: bool (classes, channels): each class's mask.
        class_names: in output order.
        history: one mapping a generation, metric name to value.
        strong_accuracy: of the whole network, on validation images.
        random_accuracy: of each draw of random masks of the same size.
    """
    kernels = kept.cpu().to(torch.int64) * plan.kernels_per_channel
    by_segment = torch.stack([kernels[:, one.channels].sum(dim=1) for one in plan.segments], dim=1)
    shared = (kernels @ kept.cpu().to(torch.int64).T).tolist()
    return SearchReport(
        class_names=tuple(class_names),
        layers=tuple("+".join(one.layers) for one in plan.segments),
        segment_kernels=tuple(
            int(plan.kernels_per_channel[one.channels].sum()) for one in plan.segments
        ),
        kernels=plan.kernels,
        kernels_kept=tuple(tuple(row) for row in by_segment.tolist()),
        kernels_shared=tuple(tuple(row[: index + 1]) for index, row in enumerate(shared)),
        history=tuple(dict(row) for row in history),
        strong_accuracy=strong_accuracy,
        random_accuracy=tuple(random_accuracy),
    )
