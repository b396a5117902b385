"""What a track takes, in steps: train, take apart, score, choose, and only then judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from benchmarks.paper.images import TrackImages
from benchmarks.paper.rows import PATCHES, ROWS
from benchmarks.paper.selection import CHOICE
from benchmarks.paper.track import Recipe, Run, Suite
from benchmarks.paper.workspace import Step
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibrations.quantile import SHARE
from modularizer.assembly.calibrations.regression import RIDGE
from modularizer.assembly.fitting import FOLDS
from modularizer.cost import count_cost
from modularizer.datasets.data_splits import DataSplits
from modularizer.preprocessing import Preprocessing
from modularizer.software import software_versions

RUNS: tuple[Run, ...] = ("simple", "plain")

WORK_ORDER = ("strong", "modules", "weak", "validation_composed", "validation_scores")
"""The kinds of steps that look at no held-out image, each after those that it needs."""

_TRAINING = 3.0
"""Passes that an image takes to learn from: one forward, a backward that counts as two."""

_SEARCHING = 1.3
_SCORING_OWN, _SCORING_WEAK = 7.0, 4.0
"""The same of a search, and of scoring the strong network's and a weak model's images with every
patch; found by how long the small track's steps took, so that time left is about right."""

_CHOOSING = 0.1
"""What fitting every row takes, as a share of what scoring took."""

_BESIDE = 5e6
"""What an image takes beside a network's multiply-adds, in multiply-adds; found likewise."""


@dataclass(frozen=True)
class SuiteSteps:
    """The steps of one suite that look at no held-out image.

    Attributes:
        suite: what they are of.
        strong: trains the strong network.
        modules: takes it apart.
        weak: from target class and run to what trains its weak models.
        composed: scores of the strong network and its modules on their own data.
        scores: from target class to weak models' and modules' scores on validation images.
        judged_by: fingerprints of the held-out images, from target class; of the strong
            network's own under its name.
    """

    suite: Suite
    strong: Step
    modules: Step
    weak: dict[tuple[str, Run], Step]
    composed: Step
    scores: dict[str, Step]
    judged_by: dict[str, str]

    @property
    def all(self) -> tuple[Step, ...]:
        """All of them, each after what it needs."""
        return (
            self.strong,
            self.modules,
            *self.weak.values(),
            self.composed,
            *self.scores.values(),
        )


def suite_steps(suite: Suite, images: TrackImages) -> SuiteSteps:
    """The steps of a suite that look at no held-out image.

    Args:
        suite: a track's.
        images: its images.

    Raises:
        DataError: if files are missing or broken.
    """
    software = software_versions("torch", "numpy")
    strong_data = _learnt_from(images.strong)
    whole = _effort(suite.strong, images.strong)
    strong = Step(
        f"{suite.name}/strong",
        "strong",
        (suite.name,),
        {**_recipe(suite.strong), "data": strong_data, "software": software},
        effort=whole * suite.strong.training.epochs * _TRAINING,
    )
    searched = suite.modules.gradient_epochs * suite.modules.gradient_images
    classes = len(images.strong.class_names)
    share = searched * classes**2 / len(images.strong.train) * _SEARCHING
    modules = Step(
        f"{suite.name}/modules",
        "modules",
        (suite.name,),
        {"settings": suite.modules.model_dump(mode="json")},
        (strong,),
        effort=whole * share,
    )
    weak: dict[tuple[str, Run], Step] = {}
    scores = {}
    judged_by = {"strong": images.strong.test.fingerprint}
    for target in suite.targets:
        data = images.weak(target)
        judged_by[target] = data.test.fingerprint
        learnt_from = _learnt_from(data)
        for run in RUNS:
            recipe = suite.recipe(run)
            weak[target, run] = Step(
                f"{suite.name}/weak/{target}/{run}",
                "weak",
                (suite.name, target, run),
                {**_recipe(recipe), "data": learnt_from, "software": software},
                effort=_effort(recipe, data) * recipe.training.epochs * _TRAINING,
            )
        scores[target] = Step(
            f"{suite.name}/validation/{target}",
            "validation_scores",
            (suite.name, target),
            {"patches": PATCHES},
            (strong, modules, *(weak[target, run] for run in RUNS)),
            effort=_SCORING_WEAK * _effort(suite.strong, data),
        )
    composed = Step(
        f"{suite.name}/validation/strong",
        "validation_composed",
        (suite.name,),
        {"patches": PATCHES},
        (strong, modules),
        effort=_SCORING_OWN * whole,
    )
    return SuiteSteps(suite, strong, modules, weak, composed, scores, judged_by)


def selection_step(suites: Iterable[SuiteSteps], *, place: str = "") -> Step:
    """The step that makes every fit and every choice; whatever is judged needs it.

    Args:
        suites: the steps that it needs.
        place: where in the workspace it is kept.
    """
    needs = [step for suite in suites for step in (suite.composed, *suite.scores.values())]
    identity = {
        "rows": [row.identity for row in ROWS],
        "choice": CHOICE,
        "folds": FOLDS,
        "share": SHARE,
        "ridge": RIDGE,
        "software": software_versions("scikit-learn"),
    }
    return Step(
        _at(place, "selection"),
        "selection",
        (),
        identity,
        tuple(needs),
        effort=sum(_CHOOSING * step.effort for step in needs),
    )


def held_out_steps(
    suite: SuiteSteps, selection: Step, *, place: str = ""
) -> tuple[Step, dict[str, Step]]:
    """The steps that score held-out images, for which the selection has to be there.

    Args:
        suite: whose.
        selection: the step that makes every choice.
        place: where in the workspace they are kept.

    Returns:
        That of the strong network's own data, and from target class to that of its weak models.
    """
    name = _at(place, suite.suite.name)
    composed = replace(
        suite.composed,
        name=f"{name}/held-out/strong",
        work="held_out_composed",
        identity={**suite.composed.identity, "images": suite.judged_by["strong"]},
        needs=(*suite.composed.needs, selection),
    )
    scores = {
        target: replace(
            step,
            name=f"{name}/held-out/{target}",
            work="held_out_scores",
            identity={**step.identity, "images": suite.judged_by[target]},
            needs=(*step.needs, selection),
        )
        for target, step in suite.scores.items()
    }
    return composed, scores


def _at(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {"recipe": recipe.model_dump(mode="json")}


def _learnt_from(data: DataSplits) -> list[str]:
    return [data.train.fingerprint, data.validation.fingerprint]


def _effort(recipe: Recipe, data: DataSplits) -> float:
    """What running the network once on every training image takes, in multiply-adds."""
    spec = recipe.architecture.model_copy(
        update={
            "arguments": {"num_classes": len(data.class_names), **recipe.architecture.arguments}
        }
    )
    return (_multiply_adds(spec.model_dump_json()) + _BESIDE) * len(data.train)


@cache
def _multiply_adds(spec: str) -> int:
    """Of one image of 32 x 32 pixels, which all tracks' images have."""
    preprocessing = Preprocessing(size=(32, 32), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = build_network(ArchitectureSpec.model_validate_json(spec))
    return count_cost(network, preprocessing).multiply_adds
