"""What can be set, one model a step; the defaults are the paper's (sections 3 and 5)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Ratio = Annotated[float, Field(ge=0, le=1)]
# Upper ends are far above what anyone needs, and below what torch's integers hold.
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
AtLeastTwo = Annotated[int, Field(ge=2, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Pixels = Annotated[int, Field(ge=0, le=1000)]


class TrainingSettings(BaseModel):
    """How a network is trained (section 5.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: Positive = Field(200, description="passes over the training images")
    batch_size: Positive = Field(128, description="images a step")
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.01, description="at the start; 0.01 for SimCNN, 0.1 for ResCNN in the paper"
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
    seed: Seed = Field(0, description="of initialisation, order and augmentation")


class DecompositionSettings(BaseModel):
    """How a strong network is taken apart (section 3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    few_groups: Positive = Field(10, description="groups of a segment below wide-segment channels")
    many_groups: Positive = Field(100, description="groups of a wider segment")
    wide_segment: Positive = Field(256, description="channels from which a segment is wide")
    tolerated_loss: Ratio = Field(
        0.05, description="accuracy an insensitive segment may lose with 90 % of it dropped"
    )
    candidates: AtLeastTwo = Field(100, description="candidates a class and generation (N_I)")
    parents: AtLeastTwo = Field(50, description="candidates that have children (N_P)")
    mutation_rate: Ratio = Field(0.1, description="chance that a bit is flipped (p_M)")
    alpha: Ratio = Field(0.9, description="weight of accuracy against diversity in the fitness")
    generations: Positive = Field(200, description="generations at most (T)")
    patience: Positive = Field(20, description="generations without gain before the search stops")
    top: Positive = Field(100, description="composed models that pass a bracket stage (N_top)")
    batch_size: Positive = Field(500, description="images at a time; bounds the memory")
    random_draws: Positive = Field(5, description="random masks of the same size to compare with")
    seed: Seed = Field(0, description="of every random choice")

    @model_validator(mode="after")
    def _parents_are_candidates(self) -> Self:
        if self.parents > self.candidates:
            raise ValueError(
                f"parents ({self.parents}) can't outnumber candidates ({self.candidates})"
            )
        return self
