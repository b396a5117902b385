"""The whole measurement: every series, its rows and its fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import torch

from benchmarks.environment import environment
from benchmarks.growth.composing import measure_composing
from benchmarks.growth.curves import Curves
from benchmarks.growth.listing import measure_listing
from benchmarks.growth.patched import measure_patched
from benchmarks.growth.settings import GrowthSettings

Tell = Callable[[str], None]


def measure_growth(settings: GrowthSettings, *, told: Tell = lambda line: None) -> dict[str, Any]:
    """Measure how cost grows as work grows.

    Args:
        settings: what is measured, at which sizes.
        told: called with a line whenever something is done.

    Returns:
        ``rows`` and ``fits``, see `benchmarks.growth.curves.Curves`; ``took_seconds`` by series;
        ``settings``; ``environment``. JSON values.

    Raises:
        ValueError: if what was measured at a size is 0.
        RuntimeError: if a registry does not hold what was registered.
    """
    torch.set_num_threads(settings.threads)
    found: dict[str, Any] = {"rows": [], "fits": [], "took_seconds": {}}
    for series in settings.series:
        began = monotonic()
        curves = _measure(series, settings, told)
        found["rows"] += curves.rows()
        found["fits"] += curves.fits()
        found["took_seconds"][series] = monotonic() - began
    return found | {
        "settings": settings.model_dump(mode="json"),
        "environment": environment(packages=("mlflow", "sqlalchemy")),
    }


def _measure(series: str, settings: GrowthSettings, told: Tell) -> Curves:
    if series == "classes":
        return measure_composing(settings, told=told)
    with TemporaryDirectory(prefix="patchbay-growth-") as folder:
        if series == "modules":
            return measure_patched(Path(folder, "home"), settings, told=told)
        return measure_listing(Path(folder), settings, told=told)
