"""A track: which networks are trained how, and by which rules weak models are picked.

A track is a committed file. What is in it was fixed before any held-out image was looked at.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.datasets.weak_sets import CIFAR10_CLASSES, DIGITS_STRONG
from modularizer.epochs import Stop
from modularizer.settings import DecompositionSettings, TrainingSettings

Dataset = Literal["cifar", "svhn"]
Kind = Literal["simple", "underfitting", "overfitting"]
Run = Literal["simple", "plain"]

KINDS: tuple[Kind, ...] = ("simple", "underfitting", "overfitting")
TRACKS = ("quick", "small", "full")

RUN_OF_KIND: dict[Kind, tuple[Run, Stop]] = {
    "simple": ("simple", "best"),
    "underfitting": ("plain", "underfitting"),
    "overfitting": ("plain", "last"),
}
"""Which training a kind of weak model comes from, and which of its epochs it is."""

_TARGETS: dict[Dataset, tuple[str, ...]] = {"cifar": CIFAR10_CLASSES, "svhn": DIGITS_STRONG}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(_Frozen):
    """How a network is built and trained."""

    architecture: ArchitectureSpec
    training: TrainingSettings


class Suite(_Frozen):
    """A strong network on one data set, its modules, and the weak models that they patch.

    Attributes:
        name: of its network and data, such as ``simcnn-cifar``.
        dataset: ``cifar``: strong on CIFAR-10, weak on nine classes of CIFAR-100 and the target
            class; ``svhn``: strong on digits 0-4, weak on 6-9 and the target class.
        targets: the target classes, in order; one weak model of each kind for each.
        strong: the network that modules are cut from.
        modules: how.
        simple: the weak network that is too small.
        plain: the weak network that is trained without dropout, weight decay and augmentation;
            half of its best epoch underfits, its last one overfits.
        target_test_images: of the target class in the main tables, as many as the paper has; a
            second table uses all that there are. None for all in both.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]+-[a-z0-9]+$")]
    dataset: Dataset
    targets: Annotated[tuple[str, ...], Field(min_length=1)]
    strong: Recipe
    modules: DecompositionSettings
    simple: Recipe
    plain: Recipe
    target_test_images: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _targets_are_classes(self) -> Self:
        unknown = sorted(set(self.targets) - set(_TARGETS[self.dataset]))
        if unknown or len(set(self.targets)) != len(self.targets):
            raise ValueError(
                f"target classes of {self.dataset} are {', '.join(_TARGETS[self.dataset])}, each "
                f"once at most; found {', '.join(self.targets)}"
            )
        return self

    def recipe(self, run: Run) -> Recipe:
        """How the weak models of a run are trained."""
        return self.simple if run == "simple" else self.plain


class Track(_Frozen):
    """Everything that a benchmark's results depend on, but the images.

    Attributes:
        name: such as ``small``.
        seed: of the splits; trainings and searches have theirs in their settings.
        suites: strong networks with what is made of them.
    """

    name: str
    seed: Annotated[int, Field(ge=0)]
    suites: Annotated[tuple[Suite, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _suites_have_names_of_their_own(self) -> Self:
        names = [suite.name for suite in self.suites]
        if len(set(names)) != len(names):
            raise ValueError(f"suites need names of their own, found {', '.join(names)}")
        return self

    def part(self, patterns: Sequence[str]) -> Track:
        """The same with some weak models alone.

        Args:
            patterns: of ``SUITE/TARGET``, as a shell's (``simcnn-cifar/cat``, ``*/ship``); none
                for all.

        Raises:
            LookupError: if a pattern fits nothing.
        """
        for pattern in patterns:
            if not any(fnmatchcase(model, pattern) for model in self.models):
                raise LookupError(f"no weak models {pattern!r}; there are {', '.join(self.models)}")
        if not patterns:
            return self
        suites = []
        for suite in self.suites:
            targets = tuple(
                target
                for target in suite.targets
                if any(fnmatchcase(f"{suite.name}/{target}", pattern) for pattern in patterns)
            )
            if targets:
                suites.append(suite.model_copy(update={"targets": targets}))
        return self.model_copy(update={"suites": tuple(suites)})

    @property
    def models(self) -> list[str]:
        """The weak models, ``SUITE/TARGET``; three kinds of each."""
        return [f"{suite.name}/{target}" for suite in self.suites for target in suite.targets]


def load_track(name: str) -> Track:
    """A track that comes with the benchmark, or any other as a TOML file.

    Args:
        name: ``quick``, ``small``, ``full``, or the path of a file.

    Raises:
        OSError: if there is no such file.
        ValidationError: pydantic's, if something in it does not fit.
        TOMLDecodeError: tomllib's, if it is no TOML.
    """
    path = Path(__file__).parent / "tracks" / f"{name}.toml" if name in TRACKS else Path(name)
    return Track.model_validate(tomllib.loads(path.read_text()))
