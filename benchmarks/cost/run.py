"""All that is counted, as one JSON value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.cost.consistency import check_published, implied_by_published
from benchmarks.cost.rows import TakenApart
from benchmarks.environment import environment


def cost_figures(
    taken_apart: Sequence[TakenApart], *, with_published: bool, settings: dict[str, Any]
) -> dict[str, Any]:
    """Rows of every decomposition, and what is to be said of the paper's.

    Args:
        taken_apart: counted decompositions.
        with_published: whether the paper's figures are checked, too.
        settings: what was asked for, as JSON values.

    Returns:
        ``decompositions`` with ``name``, ``masks`` and ``missing_classes``; ``rows``;
        ``published`` and ``implied``, empty if not asked for; ``settings``; ``environment``.
    """
    return {
        "decompositions": [
            {"name": one.name, "masks": one.masks, "missing_classes": list(one.missing)}
            for one in taken_apart
        ],
        "rows": [row for one in taken_apart for row in one.rows()],
        "published": check_published() if with_published else [],
        "implied": implied_by_published() if with_published else [],
        "settings": settings,
        "environment": environment(packages=["fvcore"]),
    }
