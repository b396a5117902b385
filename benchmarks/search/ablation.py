"""The search with one thing changed at a time: the paper's table 7 and figure 7 at a small size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.environment import environment
from benchmarks.search.subject import Workbench
from modularizer.progress import Progress, ProgressCallback, ignore_progress
from modularizer.search.evolution import genetic_search
from modularizer.settings import DecompositionSettings
from modularizer.whole_files import write_whole

SMALL_CLASSES = 3
"""Classes of the case that is small enough to compare every combination."""

METRICS = ("accuracy", "diff", "fitness", "kernels_kept")


@dataclass(frozen=True)
class Variant:
    """One row: settings that differ from the others' in one respect.

    Attributes:
        group: what is varied; a group's rows are to be compared with each other.
        name: what it is in this row.
        changes: fields of the settings and their values here.
        small: on the model's first `SMALL_CLASSES` classes alone.
    """

    group: str
    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    small: bool = False

    @property
    def label(self) -> str:
        """Group and name on one line."""
        return f"{self.group}: {self.name}" if self.name else self.group

    def settings(self, base: DecompositionSettings, seed: int) -> DecompositionSettings:
        """The base settings with its changes."""
        return DecompositionSettings.model_validate(
            {**base.model_dump(), **self.changes, "seed": seed}
        )


def base_settings(
    *,
    candidates: int,
    generations: int,
    top: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> DecompositionSettings:
    """The paper's settings at another size: half of the candidates are parents, N_top = N_I.

    Args:
        candidates: N_I.
        generations: at most.
        top: N_top; None for N_I.
        changes: of any other field.

    Raises:
        ValidationError: pydantic's, if a field is unknown or a value doesn't fit.
    """
    return DecompositionSettings.model_validate(
        {
            "candidates": candidates,
            "parents": max(candidates // 2, 2),
            "top": top or candidates,
            "generations": generations,
            **(changes or {}),
        }
    )


def variants(base: DecompositionSettings) -> tuple[Variant, ...]:
    """Every row; the first is the base that the others differ from.

    What stands in the paper or its published code as a number of candidates is scaled: 20 elites
    of 100 are a fifth, at least 50 and at most 500 models of a stage half of and five times the
    candidates.
    """
    count = base.candidates
    thresholds = {
        "passing": "thresholds",
        "least_passing": max(count // 2, 1),
        "most_passing": count * 5,
    }
    drops = {name: _default(name) for name in ("sensitive_drop", "insensitive_drop")}
    paper = any(getattr(base, name) != value for name, value in drops.items())
    return (
        Variant("base", ""),
        Variant("grouping", "random", {"grouping": "random"}),
        Variant("grouping", "none", {"grouping": "none"}),
        *(
            Variant("first population", first, {"first_population": first})
            for first in ("sensitivity", "weighted", "random")
            if first != base.first_population
        ),
        *([Variant("first population", "the paper's drop ranges", drops)] if paper else []),
        Variant("published code", "elites, a fifth", {"elites": max(count // 5, 1)}),
        Variant("published code", "adaptive alpha", {"adaptive_alpha": True}),
        Variant("published code", "thresholds pass", thresholds),
        *(Variant("alpha", f"{alpha:g}", {"alpha": alpha}) for alpha in (0.5, 0.7, 1.0)),
        *(Variant("N_I", str(size), _sized(size)) for size in _sizes(count)),
        Variant("bracket", "on", small=True),
        Variant("bracket", "off", {"bracket": False}, small=True),
    )


def _default(name: str) -> Any:
    return DecompositionSettings.model_fields[name].default


def _sizes(count: int) -> tuple[int, ...]:
    """Half as many candidates and twice as many; at least two."""
    return tuple(size for size in (count // 2, count * 2) if size >= 2)


def _sized(size: int) -> dict[str, int]:
    return {"candidates": size, "parents": max(size // 2, 2), "top": size}


@dataclass(frozen=True)
class Ablation:
    """What is run and where it is kept.

    Attributes:
        base: settings that rows differ from.
        seeds: each row is run with each.
        folder: where each finished run is kept, and from which it is taken again if it is of the
            same search; None to keep nothing.
    """

    base: DecompositionSettings
    seeds: Sequence[int] = (0,)
    folder: Path | None = None

    def run(
        self,
        bench: Workbench,
        small: Workbench,
        *,
        chosen: Iterable[Variant] | None = None,
        told: Callable[[dict[str, Any]], None] = lambda _: None,
        progress: Callable[[str], ProgressCallback] = lambda _: ignore_progress,
    ) -> dict[str, Any]:
        """Run every row with every seed.

        Args:
            bench: what to search on.
            small: the same of the first classes alone.
            chosen: rows; None for all.
            told: each row as it is there.
            progress: from a row's label to what is told of its generations.

        Returns:
            JSON values: ``rows``, in each ``group``, ``name``, means over seeds and ``runs``. The
            fitness is by the base's alpha everywhere, so that rows can be compared.
        """
        rows = []
        for variant in variants(self.base) if chosen is None else chosen:
            place = small if variant.small else bench
            runs = [self._run(place, variant, seed, progress(variant.label)) for seed in self.seeds]
            rows.append(_row(variant, runs))
            told(rows[-1])
        return {
            "rows": rows,
            "base": self.base.model_dump(mode="json"),
            "seeds": list(self.seeds),
            "subject": bench.subject.facts(),
            "strong_accuracy": bench.strong_accuracy,
            "small_subject": small.subject.facts(),
            "small_strong_accuracy": small.strong_accuracy,
            "workers": bench.scorer.workers,
            "environment": environment(bench.subject.device.type),
        }

    def _run(
        self, bench: Workbench, variant: Variant, seed: int, progress: ProgressCallback
    ) -> dict[str, Any]:
        settings = variant.settings(self.base, seed)
        identity = bench.identity(settings)
        task = {**identity.task, "alpha": self.base.alpha, "software": identity.software}
        digest = hashlib.sha256(json.dumps(task, sort_keys=True).encode()).hexdigest()
        path = None if self.folder is None else self.folder / f"run-{digest[:16]}.json"
        if path is not None and (kept := _kept(path, digest)) is not None:
            return kept
        run = {
            "digest": digest,
            "seed": seed,
            "workers": bench.scorer.workers,
            "environment": environment(bench.subject.device.type),
            **_searched(bench, settings, progress, alpha=self.base.alpha),
        }
        if path is not None:
            write_whole(path, json.dumps(run).encode())
        return run


def _searched(
    bench: Workbench,
    settings: DecompositionSettings,
    progress: ProgressCallback,
    *,
    alpha: float,
) -> dict[str, Any]:
    """One search; ``fitness`` is by ``alpha`` in all rows, whatever the search went by."""
    seconds = []

    def listen(step: Progress) -> None:
        seconds.append(step.seconds["total"])
        progress(step)

    found = genetic_search(bench.task(settings, listen), bench.fitting_sensitivity(settings))
    kernels = bench.scorer.plan.kernels
    history = [
        {**row, "fitness": alpha * row["accuracy"] + (1 - alpha) * row["diff"]}
        for row in found.history
    ]
    return {
        "accuracy": found.accuracy,
        "diff": found.diff,
        "fitness": history[-1]["fitness"],
        "kernels_kept": history[-1]["kernels_kept"] / kernels,
        "generations": len(found.history),
        "passes": found.passes,
        "seconds": sum(seconds),
        "history": history,
    }


def _row(variant: Variant, runs: list[dict[str, Any]]) -> dict[str, Any]:
    numbers = (*METRICS, "generations", "passes", "seconds")
    return {
        "group": variant.group,
        "name": variant.name,
        "label": variant.label,
        "small": variant.small,
        "changes": dict(variant.changes),
        **{name: fmean(run[name] for run in runs) for name in numbers},
        "spread": {
            name: [min(run[name] for run in runs), max(run[name] for run in runs)]
            for name in numbers
        },
        "runs": runs,
    }


def _kept(path: Path, digest: str) -> dict[str, Any] | None:
    """A finished run, if it is there and of this search."""
    try:
        run = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return run if isinstance(run, dict) and run.get("digest") == digest else None
