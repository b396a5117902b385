"""What was chosen, judged on held-out images: gains with their spread, over images and models."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.paper.rows import PatchKind, Row
from benchmarks.paper.scores import SuiteScores
from benchmarks.paper.selection import Fits
from benchmarks.paper.track import KINDS, Kind
from modularizer.assembly.fitting import FOLDS, BranchScores, fold_of, predicted_labels
from modularizer.metrics import METRICS, class_metrics, counted_metrics, image_counts

GAINS = ("precision", "recall", "f1", "others_accuracy")
DRAWS = 2000
TargetImages = Mapping[str, int | None]
"""By suite, how many images of the target class count, from the first on; all if none is given."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A weak model and what a row made of it, on held-out images.

    Attributes:
        suite: of the model.
        target: its target class.
        kind: of the model.
        weak: name to metric, see `METRICS`.
        patched: the same.
        fixes: images that were wrong and are right, of the target class and of others.
        regressions: the other way round.
        draws: float64 (draws, metrics): patched minus weak on images drawn anew, the same ones
            for all models and rows of a target class; empty if no spread was asked for.
    """

    suite: str
    target: str
    kind: Kind
    weak: Mapping[str, float]
    patched: Mapping[str, float]
    fixes: tuple[int, int]
    regressions: tuple[int, int]
    draws: NDArray[np.float64]

    def gain(self, metric: str) -> float:
        """Patched minus weak."""
        return self.patched[metric] - self.weak[metric]

    def as_json(self) -> dict[str, Any]:
        """All but the draws, with the 95 % interval of the F1 gain if there are any."""
        found: dict[str, Any] = {
            "suite": self.suite,
            "target": self.target,
            "kind": self.kind,
            "weak": dict(self.weak),
            "patched": dict(self.patched),
            "fixes": {"target": self.fixes[0], "others": self.fixes[1]},
            "regressions": {"target": self.regressions[0], "others": self.regressions[1]},
        }
        if len(self.draws):
            found["f1_gain_interval"] = _interval(self.draws[:, METRICS.index("f1")])
        return found


def judge_row(
    row: Row, fits: Fits, suites: Iterable[SuiteScores], *, images: TargetImages, spread: bool
) -> list[Judged]:
    """A row on all weak models.

    Args:
        row: which.
        fits: what was written down before.
        suites: scores on held-out images.
        images: of the target class, by suite.
        spread: whether images are drawn anew.
    """
    found = []
    for scores in suites:
        for target, kind in scores.models():
            given = first_of_target(scores.given(target, kind, row.patch), images.get(scores.suite))
            rule = fits[row.key][f"{scores.suite}/{target}/{kind}"]
            found.append(
                _compared(
                    scores.suite,
                    target,
                    kind,
                    given,
                    predicted_labels(rule.scores(given)),
                    spread=spread,
                )
            )
    return found


def first_of_target(given: BranchScores, images: int | None) -> BranchScores:
    """All images of other classes, and the first ones of the target class; None for all."""
    if images is None:
        return given
    (column,) = given.columns
    own = np.flatnonzero(given.labels == column)[:images]
    return given.take(np.sort(np.concatenate([np.flatnonzero(given.labels != column), own])))


def best_threshold(suites: Iterable[SuiteScores], *, images: TargetImages) -> list[Judged]:
    """Each weak model with the threshold that is best on the very images it is judged by.

    Not achievable: it shows what a threshold alone could bring, if it were known.
    """
    found = []
    for scores in suites:
        for target, kind in scores.models():
            given = first_of_target(scores.given(target, kind, "modules"), images.get(scores.suite))
            found.append(_with_best_threshold(scores.suite, target, kind, given))
    return found


def _with_best_threshold(suite: str, target: str, kind: Kind, given: BranchScores) -> Judged:
    (column,) = given.columns
    others = given.weak_logits.clone()
    others[:, column] = -torch.inf
    without = predicted_labels(others)
    raw = given.raw[0].numpy()
    order = np.argsort(-raw, kind="stable")
    hits = np.cumsum(given.labels[order] == column)
    said = np.arange(1, len(raw) + 1)
    best = int(np.argmax(2 * hits / (said + (given.labels == column).sum())))
    predicted = np.where(raw >= raw[order[best]], column, without)
    return _compared(suite, target, kind, given, predicted, spread=False)


def _compared(
    suite: str,
    target: str,
    kind: Kind,
    given: BranchScores,
    patched: NDArray[np.int64],
    *,
    spread: bool,
) -> Judged:
    (column,) = given.columns
    labels, weak = given.labels, predicted_labels(given.weak_logits)
    own, was, now = labels == column, weak == labels, patched == labels
    draws = np.empty((0, len(METRICS)))
    if spread:
        counts = _image_counts(labels.tobytes(), column, target)
        before, after = (counted_metrics(counts, labels, said, column) for said in (weak, patched))
        draws = after - before
    return Judged(
        suite,
        target,
        kind,
        asdict(class_metrics(labels, weak, column)),
        asdict(class_metrics(labels, patched, column)),
        (int((own & ~was & now).sum()), int((~own & ~was & now).sum())),
        (int((own & was & ~now).sum()), int((~own & was & ~now).sum())),
        draws,
    )


@lru_cache(maxsize=32)  # 8 MB each for 1,000 images
def _image_counts(labels: bytes, column: int, target: str) -> NDArray[np.float32]:
    """Samples of the images of a target class: the same for all of its models and rows."""
    seed = zlib.crc32(target.encode())
    return image_counts(np.frombuffer(labels, dtype=np.int64), column, draws=DRAWS, seed=seed)


def summary_of(models: Sequence[Judged], *, seed: int = 0) -> dict[str, Any]:
    """A row in few numbers, as fractions.

    Returns:
        Mean gains by model and, under ``cells``, as the mean over cells (suite x kind), which
        weighs suites of few models more; by kind; ``others_better_share``: the share of models
        whose accuracy on other classes does not fall; intervals, where images were drawn anew,
        over images and models.
    """
    by_kind = {kind: [one for one in models if one.kind == kind] for kind in KINDS}
    cells = [
        [one for one in models if (one.suite, one.kind) == cell]
        for cell in sorted({(one.suite, one.kind) for one in models})
    ]
    names = dict(zip(GAINS, ("precision", "recall", "f1", "others"), strict=True))
    found: dict[str, Any] = {
        "models": len(models),
        "weak_f1": _mean([one.weak["f1"] for one in models]),
        **{f"{names[gain]}_gain": _mean_gain(models, gain) for gain in GAINS},
        "accuracy_gain": _mean_gain(models, "accuracy"),
        "others_better_share": _mean([one.gain("others_accuracy") >= 0 for one in models]),
        "fixes": sum(sum(one.fixes) for one in models),
        "regressions": sum(sum(one.regressions) for one in models),
    }
    for gain in GAINS:
        found[f"{names[gain]}_gain_by_kind"] = {
            kind: _mean_gain(own, gain) for kind, own in by_kind.items()
        }
        found[f"{names[gain]}_gain_cells"] = _mean([_mean_gain(cell, gain) for cell in cells])
    found["weak_f1_by_kind"] = {
        kind: _mean([one.weak["f1"] for one in own]) for kind, own in by_kind.items()
    }
    if all(len(one.draws) for one in models):
        drawn = _over_images_and_models(models, seed)
        for gain in GAINS:
            found[f"{names[gain]}_gain_interval"] = _interval(drawn[:, METRICS.index(gain)])
    return found


def gain_ratio(models: Sequence[Judged], base: Sequence[Judged]) -> dict[str, Any]:
    """How many times larger a row's mean F1 gain is than another's, with its 95 % interval.

    Models and images are drawn anew for both alike.

    Returns:
        ``ratio`` and ``interval``: None where the other row gains nothing, so that a ratio says
        nothing; the interval also where that is so of any draw.
    """
    f1 = METRICS.index("f1")
    above, below = (_over_images_and_models(row, seed=0)[:, f1] for row in (models, base))
    gain = _mean_gain(base, "f1")
    return {
        "ratio": _mean_gain(models, "f1") / gain if gain > 0 else None,
        "interval": _interval(above / below) if (below > 0).all() else None,
    }


_COMPOSED: tuple[tuple[PatchKind, str], ...] = (
    ("strong", "strong"),
    ("modules", "composed"),
    ("random", "random"),
)


def composed_summary(
    validation: SuiteScores, held_out: SuiteScores, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The strong network against the model composed of its modules, on held-out images.

    Both with and without output calibration, which the strong network gets as well, so that
    what it brings is not counted for the modules; ``composed_loss`` is between the two that have
    it. ``composed_loss_validation`` is the same on validation images, cross-fitted.

    Args:
        validation: scores that a scale and a shift for each output are fitted on.
        held_out: scores to judge by.
        facts: of the step that took it apart.
    """
    labels = held_out.strong_labels()
    found: dict[str, Any] = {"suite": held_out.suite}
    crossed = {}
    for patch, name in _COMPOSED:
        before, after = (part.strong_scores(patch) for part in (validation, held_out))
        scale, shift = output_calibration(before, validation.strong_labels())
        found[f"{name}_accuracy"] = _accuracy(after * scale + shift, labels)
        found[f"{name}_accuracy_uncalibrated"] = _accuracy(after, labels)
        crossed[name] = _cross_fitted_accuracy(before, validation.strong_labels())
    kept = [one["kernels"] / facts["kernels"] for one in facts["classes"]]
    cost = [one["multiply_adds"] / facts["multiply_adds"] for one in facts["classes"]]
    return {
        **found,
        "composed_loss": found["strong_accuracy"] - found["composed_accuracy"],
        "composed_loss_uncalibrated": (
            found["strong_accuracy_uncalibrated"] - found["composed_accuracy_uncalibrated"]
        ),
        "composed_loss_validation": crossed["strong"] - crossed["composed"],
        "kernels_kept": _mean(kept),
        "most_kernels_kept": max(kept),
        "multiply_adds_share": _mean(cost),
        "diff": facts["diff"],
        "passes": facts["passes"]["search"],
    }


def _accuracy(scores: torch.Tensor, labels: NDArray[np.int64]) -> float:
    return float((predicted_labels(scores) == labels).mean())


def _cross_fitted_accuracy(scores: torch.Tensor, labels: NDArray[np.int64]) -> float:
    """With output calibration that no image helped to fit by which it is judged."""
    calibrated = torch.empty_like(scores)
    fold = fold_of(labels, FOLDS, seed=0)
    for one in range(FOLDS):
        held, rest = torch.from_numpy(fold == one), torch.from_numpy(fold != one)
        scale, shift = output_calibration(scores[rest], labels[fold != one])
        calibrated[held] = scores[held] * scale + shift
    return _accuracy(calibrated, labels)


def output_calibration(
    scores: torch.Tensor, labels: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale and a shift for each module, by which the composed model errs least.

    Modules that were cut apart from each other don't agree any more on what a score means; the
    least cross-entropy of all together, with a small weight on how far they are from 1 and 0,
    makes them comparable again.

    Args:
        scores: float32 (N, classes): each column a module's own score.
        labels: int64 (N,).

    Returns:
        float32 (classes,) each.
    """
    scale = torch.ones(scores.shape[1], requires_grad=True)
    shift = torch.zeros(scores.shape[1], requires_grad=True)
    target = torch.from_numpy(labels)
    optimiser = torch.optim.LBFGS([scale, shift], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        found = torch.nn.functional.cross_entropy(scores * scale + shift, target)
        found = found + 1e-4 * ((scale - 1).square().sum() + shift.square().sum())
        found.backward()
        return found

    optimiser.step(loss)
    return scale.detach(), shift.detach()


def _over_images_and_models(models: Sequence[Judged], seed: int) -> NDArray[np.float64]:
    """Mean gains of models drawn anew, each on images drawn anew: float64 (draws, metrics)."""
    generator = np.random.default_rng(seed)
    each = np.stack([one.draws for one in models])
    chosen = generator.integers(len(models), size=(DRAWS, len(models)))
    means: NDArray[np.float64] = each[chosen, np.arange(DRAWS)[:, None]].mean(axis=1)
    return means


def _mean_gain(models: Sequence[Judged], metric: str) -> float:
    return _mean([one.gain(metric) for one in models])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _interval(draws: NDArray[np.float64]) -> list[float]:
    low, high = np.percentile(draws, (2.5, 97.5))
    return [float(low), float(high)]
