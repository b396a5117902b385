"""Everything that a track's scores say, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.paper.evaluation import (
    Judged,
    TargetImages,
    best_threshold,
    composed_summary,
    gain_ratio,
    judge_row,
    summary_of,
)
from benchmarks.paper.rows import ROWS
from benchmarks.paper.scores import SuiteScores
from benchmarks.paper.selection import fits_of

NAMED = {"paper": "the paper's rule", "best_replacement": "best replacement", "best": "best"}
"""The chosen rows, with what they are called in tables and pictures."""


@dataclass(frozen=True, eq=False)
class Report:
    """A track judged on held-out images.

    Attributes:
        summary: few numbers: means, spreads, what was chosen.
        models: each weak model with each row, with as many images of the target class as the
            paper has.
        judged: the same before it was made JSON, by the row's key.
    """

    summary: dict[str, Any]
    models: dict[str, Any]
    judged: Mapping[str, Sequence[Judged]]


def report_of(
    selection: Mapping[str, Any],
    validation: Sequence[SuiteScores],
    held_out: Sequence[SuiteScores],
    decompositions: Mapping[str, Mapping[str, Any]],
    *,
    target_images: TargetImages,
) -> Report:
    """Judge what was chosen.

    Args:
        selection: what was written down before.
        validation: scores on validation images.
        held_out: scores on held-out images, in the same order.
        decompositions: facts of each suite's decomposition.
        target_images: of the target class in the main tables.
    """
    fits, chosen = fits_of(selection), selection["chosen"]
    judged = {
        row.key: judge_row(row, fits, held_out, images=target_images, spread=True) for row in ROWS
    }
    whole = {
        row.key: judge_row(row, fits, held_out, images={}, spread=True)
        for row in ROWS
        if row.key in chosen.values()
    }
    composed = [
        composed_summary(before, after, decompositions[after.suite])
        for before, after in zip(validation, held_out, strict=True)
    ]
    rows = {key: summary_of(models) for key, models in judged.items()}
    for row in ROWS:
        rows[row.key] = {
            "title": row.title,
            "uses_weak_images": row.uses_weak_images,
            "replaces": row.replaces,
            "purpose": row.purpose,
            **rows[row.key],
        }
    paper = judged["paper"]
    summary = {
        "chosen": dict(chosen),
        "harms": dict(selection["harms"]),
        **{name: rows[chosen[name]] for name in NAMED},
        "f1_gain_ratio": {
            name: gain_ratio(judged[chosen[name]], paper) for name in NAMED if name != "paper"
        },
        **{
            name: _mean(composed, name)
            for name in ("composed_loss", "composed_loss_uncalibrated", "composed_loss_validation")
        },
        "kernels_kept": _mean(composed, "kernels_kept"),
        "diff": _mean(composed, "diff"),
        "composed": composed,
        "rows": rows,
        "best_threshold": {
            "title": "one threshold, the best on these very images (not achievable)",
            **summary_of(best_threshold(held_out, images=target_images)),
        },
        "all_target_images": {
            name: {"key": chosen[name], **summary_of(whole[chosen[name]])} for name in NAMED
        },
        "target_images": dict(target_images),
    }
    models = {key: [one.as_json() for one in found] for key, found in judged.items()}
    return Report(summary, models, judged)


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(sum(row[name] for row in rows) / len(rows))
