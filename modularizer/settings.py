"""What can be set, one model a step; the defaults are the paper's (sections 3 and 5)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Ratio = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingSettings(_Settings):
    """How a network is trained (section 5.3).

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: at the start; 0.01 for SimCNN, 0.1 for ResCNN in the paper.
        milestones: shares of the epochs after which the learning rate is divided by ten.
        momentum: Nesterov's.
        weight_decay: on all parameters.
        augment_crop: pixels of padding for a random crop; 0 for none.
        augment_flip: mirror half of the images; wrong for digits.
        seed: of initialisation, order and augmentation.
    """

    epochs: Positive = 200
    batch_size: Positive = 128
    learning_rate: Annotated[float, Field(gt=0)] = 0.01
    milestones: tuple[Ratio, ...] = (0.3, 0.6)
    momentum: Ratio = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    augment_crop: Annotated[int, Field(ge=0)] = 0
    augment_flip: bool = False
    seed: int = 0


class DecompositionSettings(_Settings):
    """How a strong network is taken apart (section 3).

    Attributes:
        few_groups: groups of a segment with fewer than ``wide_segment`` channels.
        many_groups: groups of a wider one.
        wide_segment: channels from which a segment is wide.
        tolerated_loss: accuracy that an insensitive segment may lose with 90 % of it dropped.
        candidates: N_I, candidates a class and generation.
        parents: N_P, candidates that have children.
        mutation_rate: p_M, chance that a bit is flipped.
        alpha: weight of accuracy against diversity in the fitness.
        generations: T, at most.
        patience: generations without gain before the search stops.
        top: N_top, composed models that go on from a stage of the bracket.
        batch_size: images at a time; bounds the memory and, by the order of sums, the last bits.
        random_draws: random masks of the same size that the result is compared with.
        seed: of every random choice.
    """

    few_groups: Positive = 10
    many_groups: Positive = 100
    wide_segment: Positive = 256
    tolerated_loss: Ratio = 0.05
    candidates: Annotated[int, Field(ge=2)] = 100
    parents: Annotated[int, Field(ge=2)] = 50
    mutation_rate: Ratio = 0.1
    alpha: Ratio = 0.9
    generations: Positive = 200
    patience: Positive = 20
    top: Positive = 100
    batch_size: Positive = 500
    random_draws: Positive = 5
    seed: int = 0

    @model_validator(mode="after")
    def _parents_are_candidates(self) -> Self:
        if self.parents > self.candidates:
            raise ValueError(
                f"parents ({self.parents}) can't outnumber candidates ({self.candidates})"
            )
        return self
