"""The genetic search as a loop: ask, run, compare, tell, keep; generation after generation."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from modularizer.analysis.grouping import Grouping, group_channels
from modularizer.analysis.keeping import keeping_each_layer
from modularizer.analysis.sensitivity import Sensitivity
from modularizer.checkpoint import Saved
from modularizer.progress import Progress
from modularizer.search.bracket import BracketResult, run_bracket
from modularizer.search.diversity import diff
from modularizer.search.genetic import CrossAndFlip, SearchState, Variation, ask, tell
from modularizer.search.population import first_population, random_population
from modularizer.search.scoring import Generation
from modularizer.search.task import Masks, SearchTask, fitness_of, generator_for, passing_of


def genetic_search(task: SearchTask, sensitivity: Sensitivity | None) -> Masks:
    """Search for masks as the paper does (section 3.2).

    Args:
        task: what to search for.
        sensitivity: of the segments; None for a first population of coins.
    """
    return begin_search(task, sensitivity).run(task.settings.generations, task.settings.patience)


def begin_search(task: SearchTask, sensitivity: Sensitivity | None) -> Evolution:
    """The same search before its first generation, or where its checkpoint ends."""
    settings = task.settings
    generator = generator_for(settings.seed, "genetic search")
    grouping = group_channels(
        task.importance,
        task.plan,
        few=settings.few_groups,
        many=settings.many_groups,
        wide=settings.wide_segment,
        order=settings.grouping,
        generator=generator,
    )
    if sensitivity is None:
        first = random_population(
            grouping, classes=task.classes, candidates=settings.candidates, generator=generator
        )
    else:
        first = first_population(
            grouping,
            sensitivity.sensitive,
            classes=task.classes,
            candidates=settings.candidates,
            generator=generator,
            by_importance=settings.first_population == "weighted",
            sensitive_drop=settings.sensitive_drop,
            insensitive_drop=settings.insensitive_drop,
        )
    return Evolution(
        task, grouping, first, generator, CrossAndFlip(settings.mutation_rate), stage="search"
    )


class Evolution:
    """A genetic search under way; goes on from its checkpoint, if there is one.

    Args:
        task: what to search for.
        grouping: what the bits decide about.
        first: bool (classes, candidates, groups).
        generator: every random choice from here on.
        vary: how children come from parents.
        stage: its name in the checkpoint and in what progress tells.
        permitted: of candidate 0 of each class known to be good, and held together from the first
            generation on: whether other masks, bool (classes, channels), may take its place, bool
            (classes,); those that may not, or that would empty a layer, are left out.
    """

    def __init__(
        self,
        task: SearchTask,
        grouping: Grouping,
        first: Tensor,
        generator: torch.Generator,
        vary: Variation,
        *,
        stage: str,
        permitted: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.task = task
        self.permitted = permitted
        self.grouping = grouping
        self.generator = generator
        self.vary = vary
        self.stage = stage
        self.state = SearchState(first)
        self.history: list[dict[str, float]] = []
        self.passes = 0
        task.scorer.forget()
        if (saved := task.checkpoint.load(stage)) is not None:
            self._restore(saved)

    def run(self, generations: int, patience: int) -> Masks:
        """Go on until there have been so many generations, or so many without gain."""
        while self.state.generation < generations and self.state.stale < patience:
            began = perf_counter()
            seconds = self._generation()
            self._save()
            seconds["total"] = perf_counter() - began
            self.task.progress(
                Progress(self.stage, self.state.generation, generations, self.history[-1], seconds)
            )
        best = self._best_masks()
        last = self.history[-1]
        return Masks(best, self.state.best_accuracy, last["diff"], tuple(self.history), self.passes)

    def _generation(self) -> dict[str, float]:
        """One generation; gives the seconds of its parts."""
        settings, scorer = self.task.settings, self.task.scorer
        scorer.next_generation()
        before, passes = dict(scorer.work.seconds), scorer.work.passes
        bits = self._emptying_nothing(
            ask(
                self.state,
                parents=settings.parents,
                elites=settings.elites,
                vary=self.vary,
                generator=self.generator,
            )
        )
        masks = self.grouping.masks(bits)
        began = perf_counter()
        result = self._compare(masks)
        took = perf_counter() - began
        self.state = tell(self.state, bits, result)
        run = scorer.work.passes - passes
        self.passes += run
        best, kernels = self._best_masks(), self.task.plan.kernels_per_channel
        self.history.append(
            {
                "fitness": self.state.best_fitness,
                "accuracy": self.state.best_accuracy,
                "diff": diff(best, kernels),
                "kernels_kept": float(self.task.plan.kernels_kept(best).double().mean()),
                "passes": float(run),
            }
        )
        spent = {name: value - before[name] for name, value in scorer.work.seconds.items()}
        for name in ("decode", "network"):  # of all workers together
            spent[name] /= scorer.workers
        return {**spent, "bracket": max(took - sum(spent.values()), 0.0)}

    def _emptying_nothing(self, bits: Tensor) -> Tensor:
        """The same bits, with a group put back where a segment or a layer has none left."""
        repaired = self.grouping.keeping_a_group(bits)
        masks = self.grouping.masks(repaired)
        preference = self.task.importance[:, None, :]
        needed = keeping_each_layer(masks, preference, self.task.plan) & ~masks
        repaired = repaired | self.grouping.bits(needed)
        if self.permitted is None:
            return repaired
        fits = torch.stack([self.permitted(one) for one in masks.unbind(dim=1)], dim=1).cpu()
        fits &= (repaired == bits).all(dim=2)
        return torch.where(fits[..., None], bits, bits[:, :1])

    def _compare(self, masks: Tensor) -> BracketResult:
        settings = self.task.settings
        return run_bracket(
            Generation(self.task.scorer, masks),
            fitness=fitness_of(settings),
            passing=passing_of(settings),
            generator=self.generator,
            keep=(
                torch.zeros(len(masks), dtype=torch.int64)
                if self.history or self.permitted is not None
                else None
            ),
        )

    def _best_masks(self) -> Tensor:
        assert self.state.best_bits is not None
        return self.grouping.masks(self.state.best_bits[:, None])[:, 0]

    def _save(self) -> None:
        state, scorer = self.state, self.task.scorer
        assert state.standing is not None
        assert state.best_bits is not None
        tensors = {
            "bits": state.bits,
            "standing": state.standing,
            "best_bits": state.best_bits,
            "ran": scorer.ran(self.grouping.masks(state.bits)),
            "generator": self.generator.get_state(),
        }
        facts: dict[str, Any] = {
            "best_fitness": state.best_fitness,
            "best_accuracy": state.best_accuracy,
            "generation": state.generation,
            "stale": state.stale,
            "history": self.history,
            "passes": self.passes,
            "reruns": scorer.work.reruns,
        }
        self.task.checkpoint.save(self.stage, tensors, facts)

    def _restore(self, saved: Saved) -> None:
        tensors, facts = saved.tensors, saved.facts
        self.state = SearchState(
            tensors["bits"],
            tensors["standing"],
            tensors["best_bits"],
            facts["best_fitness"],
            facts["best_accuracy"],
            facts["generation"],
            facts["stale"],
        )
        self.generator.set_state(tensors["generator"])
        self.history = [dict(row) for row in facts["history"]]
        self.passes = facts["passes"]
        self.task.scorer.work.reruns = facts["reruns"]
        self.task.scorer.remember(self.grouping.masks(tensors["bits"]), tensors["ran"])
