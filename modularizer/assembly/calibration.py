"""Every calibration that a patch can have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.calibrations.logistic import LogisticCalibration
from modularizer.assembly.calibrations.minmax import MinMaxCalibration
from modularizer.assembly.calibrations.quantile import QuantileCalibration
from modularizer.assembly.calibrations.raw import NoCalibration

Calibration = Annotated[
    MinMaxCalibration
    | NoCalibration
    | QuantileCalibration
    | LogisticCalibration
    | FittedCalibration,
    Field(discriminator="kind"),
]
