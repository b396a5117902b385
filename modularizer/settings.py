"""What can be set, one model a step; the defaults are the paper's (sections 3 and 5)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError("the first end must not be above the second")
    return ends


Ratio = Annotated[float, Field(ge=0, le=1)]
# Upper ends are far above what anyone needs, and below what torch's integers hold.
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
AtLeastTwo = Annotated[int, Field(ge=2, le=1_000_000)]
Natural = Annotated[int, Field(ge=0, le=1_000_000)]
DropRange = Annotated[tuple[Ratio, Ratio], AfterValidator(_rising)]
Share = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Pixels = Annotated[int, Field(ge=0, le=1000)]


class TrainingSettings(BaseModel):
    """How a network is trained (section 5.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Positive = Field(200, description="passes over the training images")
    batch_size: Positive = Field(128, description="images a step")
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.01, description="the highest; 0.01 for SimCNN, 0.1 for ResCNN in the paper"
    )
    schedule: Literal["steps", "one-cycle"] = Field(
        "steps",
        description="the learning rate falls in steps, or rises for a quarter of the steps and "
        "falls to 0 along a cosine",
    )
    milestones: tuple[Ratio, ...] = Field(
        (0.3, 0.6), description="shares of the epochs after which the rate is divided by ten"
    )
    momentum: Ratio = Field(0.9, description="Nesterov's")
    weight_decay: Annotated[float, Field(ge=0, le=1000)] = Field(
        1e-4, description="on all parameters"
    )
    augment_crop: Pixels = Field(0, description="pixels of a random shift; 0 for none")
    augment_flip: bool = Field(False, description="mirror half of the images; wrong for digits")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the arithmetic while learning; weights and validation stay float32",
    )
    seed: Seed = Field(0, description="of initialisation, order and augmentation")


class DecompositionSettings(BaseModel):
    """How a strong network is taken apart (section 3).

    What the paper leaves out of its text but its published code does is an option here:
    ``first_population="weighted"``, ``elites``, ``adaptive_alpha``, ``passing="thresholds"``. So
    are the baselines of its ablations: ``grouping``, ``first_population="random"``,
    ``bracket=False``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: Literal["genetic", "gradient"] = Field("genetic", description="how masks are found")
    grouping: Literal["importance", "random", "none"] = Field(
        "importance",
        description="channels of a group are neighbours in importance, or random; "
        "none: a bit a channel",
    )
    few_groups: Positive = Field(10, description="groups of a segment below wide-segment channels")
    many_groups: Positive = Field(100, description="groups of a wider segment")
    wide_segment: Positive = Field(256, description="channels from which a segment is wide")
    first_population: Literal["sensitivity", "weighted", "random"] = Field(
        "sensitivity",
        description="first candidates drop more where that does no harm; weighted: "
        "important groups stay more often, too; random: each bit a coin",
    )
    tolerated_loss: Ratio = Field(
        0.05, description="accuracy an insensitive segment may lose with 90 % of it dropped"
    )
    sensitive_drop: DropRange = Field(
        (0.1, 0.5),
        description="range of the share that first candidates drop of a segment that "
        "needs its kernels",
    )
    insensitive_drop: DropRange = Field(
        (0.5, 0.9), description="the same of one that does not; narrow networks need less of both"
    )
    candidates: AtLeastTwo = Field(100, description="candidates a class and generation (N_I)")
    parents: AtLeastTwo = Field(50, description="candidates that have children (N_P)")
    elites: Natural = Field(0, description="candidates that go on unchanged (published code: 20)")
    mutation_rate: Ratio = Field(0.1, description="chance that a bit is flipped (p_M)")
    alpha: Ratio = Field(0.9, description="weight of accuracy against diversity in the fitness")
    adaptive_alpha: bool = Field(
        False, description="add to alpha what a model's accuracy lacks to 0.9 (published code)"
    )
    generations: Positive = Field(200, description="generations at most (T)")
    patience: Positive = Field(20, description="generations without gain before the search stops")
    bracket: bool = Field(
        True, description="compare composed models stage by stage; without: every combination"
    )
    passing: Literal["top", "thresholds"] = Field(
        "top",
        description="which composed models pass a stage: the fittest, or those above "
        ".95/.95/.85/.80 accuracy at 2/4/8/10 classes (published code)",
    )
    top: Positive = Field(100, description="composed models that pass a bracket stage (N_top)")
    least_passing: Positive = Field(50, description="with thresholds: models that pass at least")
    most_passing: Positive = Field(500, description="with thresholds: models that pass at most")
    gates: Literal["straight-through", "hard-concrete"] = Field(
        "straight-through", description="gradient search: how masks let gradients through"
    )
    gradient_epochs: Positive = Field(4, description="gradient search: passes over its images")
    gradient_images: Positive = Field(
        50, description="gradient search: training images of a class, drawn anew for each epoch"
    )
    gradient_batch: Positive = Field(
        10, description="gradient search: images a step; each runs through all classes at once"
    )
    gradient_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.03, description="gradient search: Adam's learning rate at the start; it falls to 0"
    )
    gradient_ranking: Annotated[float, Field(ge=0, le=1000)] = Field(
        10.0,
        description="gradient search: weight of how each module alone tells its class from "
        "others, against the composed model's loss",
    )
    gradient_diversity: Ratio = Field(
        0.0, description="gradient search: weight of Diff against the loss"
    )
    kernels_budget: Share = Field(
        0.57,
        description="gradient search: share of the kernels that a module may keep; 0.57 is the "
        "paper's mean",
    )
    multiply_adds_budget: Share | None = Field(
        None,
        description="gradient search: share of the multiply-adds that a module may cost, instead "
        "of kernels-budget",
    )
    alignment: Literal[1, 8, 16] = Field(
        1,
        description="gradient search: each segment (layers that are cut together) keeps a "
        "multiple of this many channels, or all",
    )
    polish_generations: Natural = Field(
        0, description="gradient search: generations of the genetic search that follow"
    )
    polish_swaps: Ratio = Field(
        0.3, description="of these, chance that a segment of a child swaps two channels"
    )
    validation_images: Natural = Field(
        0,
        description="validation images that candidates are scored on, as many of each class; "
        "0 for all",
    )
    batch_size: Positive = Field(
        500, description="images of a class that a candidate is given at a time; sums depend on it"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="of the networks' arithmetic while searching; tf32 needs a GPU"
    )
    random_draws: Positive = Field(5, description="random masks of the same size to compare with")
    seed: Seed = Field(0, description="of every random choice")

    @model_validator(mode="after")
    def _numbers_fit_together(self) -> Self:
        if self.parents > self.candidates:
            raise ValueError(
                f"parents ({self.parents}) can't outnumber candidates ({self.candidates})"
            )
        if self.elites >= self.candidates:
            raise ValueError(
                f"elites ({self.elites}) must be fewer than candidates ({self.candidates}): "
                "one place is the best combination's"
            )
        if self.least_passing > self.most_passing:
            raise ValueError(
                f"least-passing ({self.least_passing}) is more than most-passing "
                f"({self.most_passing})"
            )
        return self


class GateSettings(BaseModel):
    """What a patch must reach, and what it may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_loss: float = Field(
        0.01,
        ge=0,
        le=1,
        description="what may be lost against the model in use, or against the weak model where "
        "there is none: of the F1 of a class that either patches, and of the accuracy on "
        "the others",
    )
    gain_test: Literal["bootstrap", "mcnemar"] = Field(
        "bootstrap",
        description="how it is told that a patched class gains over the weak model: the interval "
        "of its F1 gain over resampled images lies above 0, or McNemar's exact test of the images "
        "that are told apart rightly",
    )
    alpha: float = Field(
        0.05, gt=0, le=0.5, description="significance of that test, on both sides together"
    )
