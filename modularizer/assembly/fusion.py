"""Every fusion that a patched model can have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from modularizer.assembly.calibration import Calibration
from modularizer.assembly.calibrations.fitted import FittedCalibration
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.assembly.fusions.stacking import Stacking
from modularizer.errors import PatchError

Fusion = Annotated[Replacement | Stacking, Field(discriminator="kind")]


def require_fitting_fusion(fusion: Fusion, calibrations: Sequence[Calibration]) -> None:
    """Refuse a fusion and calibrations that don't go together.

    Raises:
        PatchError: with the reason.
    """
    fitted = [isinstance(one, FittedCalibration) for one in calibrations]
    kinds = ", ".join(one.kind for one in calibrations)
    if any(fitted) and not all(fitted):
        raise PatchError(
            f"calibrations of one patched model are all fitted, or none is; found {kinds}"
        )
    if isinstance(fusion, Stacking):
        if not all(fitted):
            raise PatchError(f"stacking takes fitted calibrations; found {kinds}")
        if len(fusion.weak_weights) != len(calibrations):
            raise PatchError(
                f"stacking has {len(fusion.weak_weights)} weights for {len(calibrations)} patches"
            )
