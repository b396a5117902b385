"""Made scores of a weak model and a module that knows what it does not, and stored calibrations."""

from __future__ import annotations

import numpy as np
import torch

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.logistic import LogisticCalibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.calibrations.quantile import QuantileCalibration
from modularizer.assembly.fitting import BranchScores
from modularizer.patching import JudgedRule, judge
from modularizer.rules import RuleName

STORED: dict[str, Calibration] = {
    "minmax": MinMaxCalibration(minimum=-4, maximum=4),
    "quantile": QuantileCalibration(low=-2, high=2),
    "logistic": LogisticCalibration(scale=1, shift=-1),
}
CLASSES = ("ape", "bee", "cat", "dog")


def scores_of_a_useful_module(count: int = 400, seed: int = 0) -> BranchScores:
    """A weak model that can't tell bees from cats, and a module that can."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 4
    seen = np.where(labels == 1, 2, labels)
    weak = 3 * np.eye(4)[seen] + generator.normal(0, 1, (count, 4))
    raw = np.where(labels == 1, 2.0, -2.0) + generator.normal(0, 1, count)
    return BranchScores(
        torch.from_numpy(weak).float(), torch.from_numpy(raw).float()[None], (1,), labels
    )


def judged_by(name: RuleName, given: BranchScores) -> JudgedRule:
    return judge(name, [STORED], given, CLASSES)
