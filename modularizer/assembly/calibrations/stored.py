"""What every calibration's fields and fits have in common."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from modularizer.errors import CalibrationError

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Stored(BaseModel):
    """A few numbers that are stored with a patch, exactly as they are used."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def require_spread(scores: NDArray[Any], what: str) -> None:
    """Refuse scores that nothing can be fitted to.

    Args:
        scores: float, (N,).
        what: the calibration that asks, for the message.

    Raises:
        CalibrationError: if there is no score, one is not finite, or all are equal.
    """
    if not len(scores):
        raise CalibrationError(f"{what} calibration needs at least two scores, found none")
    if not np.isfinite(scores).all():
        raise CalibrationError(
            f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite; "
            "the class module or its images are broken"
        )
    if scores.min() == scores.max():
        raise CalibrationError(
            f"all {len(scores)} scores are {float(scores[0])}; {what} calibration needs a range. "
            "The module may have lost every path to its output"
        )
