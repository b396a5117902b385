"""What is measured, at which sizes, and how often."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

SeriesName = Literal["modules", "listed", "classes"]
SERIES: tuple[SeriesName, ...] = ("modules", "listed", "classes")
MOST_MODULES = 256
MOST_LISTED = 5000
MOST_CLASSES = 3000


def _several(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(sizes)) < 2:
        raise ValueError("growth needs two different sizes at least")
    return tuple(sorted(set(sizes)))


ModuleCounts = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MOST_MODULES)], ...], AfterValidator(_several)
]
ListedCounts = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MOST_LISTED)], ...], AfterValidator(_several)
]
ClassCounts = Annotated[
    tuple[Annotated[int, Field(ge=2, le=MOST_CLASSES)], ...], AfterValidator(_several)
]
Repeats = Annotated[int, Field(ge=1, le=10_000)]


class GrowthSettings(BaseModel):
    """Sizes and repeats of each series, and how large the networks are.

    Attributes:
        series: which are measured.
        modules: class modules of a patched model.
        listed: class modules in a registry.
        classes: of a strong network, and of the model composed of its modules.
        width: of the patched models' SimCNNs, and of those that are decoded, as a share of the
            paper's.
        tiny: whether they are as small as the networks of the other series instead.
        kept_share: of the strong network's kernels in each module, about.
        batch: images of the larger requests.
        latency_repeats: requests of each kind to each patched model.
        load_repeats: processes that load each patched model.
        repeats: of everything else.
        decomposed: class modules that are registered at once, of one strong model.
        images: that a composed model is scored on, about, whatever the number of classes.
        threads: of one operation.
        seed: of weights, masks, images, scores and order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    series: tuple[SeriesName, ...] = SERIES
    modules: ModuleCounts = (1, 2, 4, 8, 16, 32, 64)
    listed: ListedCounts = (10, 30, 100, 300, 1000)
    classes: ClassCounts = (10, 30, 100, 300, 1000)
    width: Annotated[float, Field(gt=0, le=1)] = 0.25
    tiny: bool = False
    kept_share: Annotated[float, Field(gt=0, le=1)] = 0.6
    batch: Annotated[int, Field(ge=2, le=4096)] = 32
    latency_repeats: Repeats = 30
    load_repeats: Repeats = 3
    repeats: Repeats = 7
    decomposed: Annotated[int, Field(ge=1, le=1000)] = 10
    images: Annotated[int, Field(ge=1, le=100_000)] = 2000
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
