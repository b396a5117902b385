"""What a finished track leaves for others: scores, figures, tables and pictures in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks.environment import environment
from benchmarks.paper.experiment import Experiment
from benchmarks.paper.protocol import PROTOCOL, read_protocol
from benchmarks.paper.report import Report, report_of
from benchmarks.paper.rows import ROWS
from benchmarks.paper.scores import Split, SuiteScores, publish, read_published
from benchmarks.paper.selection import select
from benchmarks.paper.tables import tables_of
from modularizer.errors import DataError
from modularizer.whole_files import write_whole

SUMMARY, MODELS, TABLES = "summary.json", "models.json", "tables.md"


def write_results(experiment: Experiment, folder: Path) -> Report:
    """Write everything that a finished experiment says.

    ``protocol.json`` holds the track, every choice with its fits, and what was trained;
    ``SUITE-validation.safetensors`` and ``SUITE-held-out.safetensors`` hold all scores. With
    these `repeat` makes the others again without a network.

    Args:
        experiment: all of whose steps are done.
        folder: made if it is not there.
    """
    protocol = {
        "track": experiment.track.model_dump(mode="json"),
        "selection": experiment.selected(),
        "decompositions": experiment.decompositions(),
        "models": experiment.models(),
        "seconds": round(experiment.seconds()),
        "workers": experiment.means.workers,
        "environment": environment(experiment.means.device),
        "images": experiment.images_note,
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / PROTOCOL, protocol)
    for scores in experiment.validation_scores():
        publish(scores, _scores_file(folder, scores.suite, "validation"), "validation")
    for scores in experiment.held_out_scores():
        publish(scores, _scores_file(folder, scores.suite, "held-out"), "held-out")
    return repeat(folder, folder)


def repeat(folder: Path, out: Path, *, refit: bool = False) -> Report:
    """Make summary, tables and pictures again from published scores.

    Args:
        folder: with ``protocol.json`` and the scores.
        out: where they go; made if it is not there.
        refit: fit every rule and choose anew, from the scores on validation images, instead of
            taking what the protocol says. Rules that were thought of after held-out scores were
            seen are tried out like this; the summary says so.

    Raises:
        DataError: if a file is missing, or not of this form.
    """
    if refit and folder.resolve() == out.resolve():
        raise DataError(f"{folder} says how its rules were chosen; give another folder to refit")
    track, protocol = read_protocol(folder)
    selection, decompositions = protocol["selection"], protocol["decompositions"]
    out.mkdir(parents=True, exist_ok=True)
    validation, held_out = (
        [
            read_published(_scores_file(folder, suite.name, split), suite, split)
            for suite in track.suites
        ]
        for split in get_args(Split)
    )
    if refit:
        selection = select(validation)
    elif missing := [row.key for row in ROWS if row.key not in selection["rows"]]:
        raise DataError(
            f"{folder / PROTOCOL} has no choices for {', '.join(missing)}, so another version "
            "wrote it; fit and choose anew (--refit)"
        )
    found = report_of(
        selection,
        validation,
        held_out,
        decompositions,
        target_images={suite.name: suite.target_test_images for suite in track.suites},
    )
    _write(found, {**protocol, "selection": selection, "refitted": refit}, held_out, out)
    return found


def _write(
    report: Report,
    protocol: Mapping[str, Any],
    held_out: Sequence[SuiteScores],
    folder: Path,
) -> None:
    from benchmarks.paper.plots import save_plots

    named = ("seconds", "workers", "environment", "images", "refitted")
    about = {name: protocol[name] for name in named}
    _write_json(folder / SUMMARY, {**report.summary, **about})
    _write_json(folder / MODELS, report.models)
    remark = protocol["images"]
    if protocol["refitted"]:
        remark += " Rules were fitted and chosen anew after held-out scores had been published."
    write_whole(folder / TABLES, tables_of(report, remark.strip()).encode())
    save_plots(report, held_out, protocol["selection"], folder)


def _scores_file(folder: Path, suite: str, split: Split) -> Path:
    return folder / f"{suite}-{split}.safetensors"


def _write_json(path: Path, value: Any) -> None:
    write_whole(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
