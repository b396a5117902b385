"""A track from end to end: train and score, write down every choice, judge, make tables."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.paper.images import TrackImages
from benchmarks.paper.run import Errand, Listener, Tally, run_steps
from benchmarks.paper.scores import SuiteScores, joined
from benchmarks.paper.selection import select
from benchmarks.paper.steps import (
    WORK_ORDER,
    SuiteSteps,
    held_out_steps,
    selection_step,
    suite_steps,
)
from benchmarks.paper.track import Suite, Track
from benchmarks.paper.workspace import Result, Step, Workspace


@dataclass(frozen=True)
class Means:
    """What a run may use.

    Attributes:
        images: the folder that they are in; None for the environment's choice.
        device: where networks run.
        workers: processes.
        threads: of torch in each.
        seconds: no more than about that many; None for as long as it takes.
    """

    images: Path | None = None
    device: str = "cpu"
    workers: int = 1
    threads: int = 1
    seconds: float | None = None


class Experiment:
    """A track, and a workspace in which it is done.

    A part shares trained networks and masks with the whole. Its choices, what is judged by them
    and its results are its own and have a place of their own.

    Args:
        track: what to do.
        folder: the workspace's.
        means: what may be used.
        only: a part, see `Track.part`; empty for the whole.

    Raises:
        DataError: if images are missing or broken.
        LookupError: if a pattern of the part fits nothing.
    """

    def __init__(
        self, track: Track, folder: Path, means: Means, *, only: Sequence[str] = ()
    ) -> None:
        self.track = track.part(only)
        self.workspace = Workspace(folder)
        self.means = means
        self._part = "" if self.track == track else _part_of_its_own(self.track.models)

    @property
    def results(self) -> Path:
        """The folder for tables, figures and pictures."""
        return self.workspace.folder / self._part / "results"

    @cached_property
    def suites(self) -> tuple[SuiteSteps, ...]:
        """The steps of each suite that look at no held-out image."""
        return tuple(suite_steps(suite, self._images[suite.dataset]) for suite in self.track.suites)

    @property
    def images_note(self) -> str:
        """What has to be said of the images beside every table."""
        return " ".join(filter(None, (images.remark for images in self._images.values())))

    @cached_property
    def _learning(self) -> list[tuple[Suite, Step]]:
        """The steps that look at no held-out image: data set by data set, strong networks first.

        Whoever's time ends early has every strong network and its modules, and some weak models;
        whoever has several processes begins with what takes longest.
        """
        found = [(suite.suite, step) for suite in self.suites for step in suite.all]
        datasets, kinds = list(self._images), list(WORK_ORDER)
        found.sort(key=lambda one: (datasets.index(one[0].dataset), kinds.index(one[1].work)))
        return found

    @cached_property
    def _images(self) -> dict[str, TrackImages]:
        return {
            dataset: TrackImages(dataset, self.track.seed, self.means.images)
            for dataset in dict.fromkeys(suite.dataset for suite in self.track.suites)
        }

    @cached_property
    def selection(self) -> Step:
        """The step that makes every choice."""
        return selection_step(self.suites, place=self._part)

    @cached_property
    def held_out(self) -> tuple[tuple[Step, dict[str, Step]], ...]:
        """The steps that score held-out images, suite by suite."""
        return tuple(
            held_out_steps(suite, self.selection, place=self._part) for suite in self.suites
        )

    def steps(self) -> list[Step]:
        """All of them, each after what it needs."""
        found = [step for _, step in self._learning]
        found.append(self.selection)
        for composed, scores in self.held_out:
            found += [composed, *scores.values()]
        return found

    def run(self, told: Listener = lambda _: None) -> bool:
        """Do what is not done; whether all is.

        Raises:
            Exception: whatever a step raised.
        """
        until = None if self.means.seconds is None else time.monotonic() + self.means.seconds
        learning = [self._errand(suite, step) for suite, step in self._learning]
        steps = self.steps()
        tally = Tally(steps, {step.name for step in steps if self.workspace.is_done(step)})
        if not self._do(learning, tally, told, until):
            return False
        if not self.workspace.is_done(self.selection):
            began = time.monotonic()
            chosen = Result(select(self.validation_scores()), {})
            seconds = time.monotonic() - began
            self.workspace.keep(self.selection, chosen, seconds)
            told(tally.take(self.selection.name, seconds))
        judging = [
            self._errand(suite.suite, step)
            for suite, (composed, scores) in zip(self.suites, self.held_out, strict=True)
            for step in (composed, *scores.values())
        ]
        return self._do(judging, tally, told, until)

    def validation_scores(self) -> list[SuiteScores]:
        """Scores on validation images, suite by suite."""
        return [self._joined(suite, suite.composed, suite.scores) for suite in self.suites]

    def held_out_scores(self) -> list[SuiteScores]:
        """Scores on held-out images, suite by suite."""
        return [
            self._joined(suite, composed, scores)
            for suite, (composed, scores) in zip(self.suites, self.held_out, strict=True)
        ]

    def selected(self) -> Mapping[str, Any]:
        """What was written down before held-out images were scored."""
        return self.workspace.read(self.selection).facts

    def decompositions(self) -> dict[str, Mapping[str, Any]]:
        """What each suite's strong network was taken apart to, by suite."""
        return {suite.suite.name: self.workspace.read(suite.modules).facts for suite in self.suites}

    def models(self) -> dict[str, dict[str, Any]]:
        """What is known of each weak model but its scores, by ``suite/target/kind``."""
        found = {}
        for suite in self.suites:
            for target, step in suite.scores.items():
                for kind, facts in self.workspace.read(step).facts["models"].items():
                    found[f"{suite.suite.name}/{target}/{kind}"] = facts
        return found

    def seconds(self) -> float:
        """What all steps took, one after the other."""
        return sum(self.workspace.seconds(step) for step in self.steps())

    def _do(self, errands: list[Errand], tally: Tally, told: Listener, until: float | None) -> bool:
        return run_steps(
            errands,
            workers=self.means.workers,
            threads=self.means.threads,
            seconds=None if until is None else max(0.0, until - time.monotonic()),
            tally=tally,
            told=told,
        )

    def _errand(self, suite: Suite, step: Step) -> Errand:
        return Errand(
            suite,
            self.track.seed,
            self.means.images,
            step,
            self.workspace.folder,
            self.means.device,
        )

    def _joined(self, suite: SuiteSteps, composed: Step, scores: Mapping[str, Step]) -> SuiteScores:
        classes = tuple(self.workspace.read(suite.composed).facts["class_names"])
        return joined(
            suite.suite.name,
            classes,
            self.workspace.read(composed).tensors,
            {target: self.workspace.read(step).tensors for target, step in scores.items()},
        )


def _part_of_its_own(models: Sequence[str]) -> str:
    """Where a part of a track has its choices and results."""
    first, *others = (model.replace("/", ".") for model in models)
    if not others:
        return f"parts/{first}"
    digest = hashlib.sha256("\n".join(models).encode()).hexdigest()
    return f"parts/{first}+{len(others)}-{digest[:8]}"
