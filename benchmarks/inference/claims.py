"""What the paper says of a patch's cost, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PAPER_MEMORY_RATIO = 2.6 / 1.7
"""Of a GPU's memory, patched to weak (CNNSplitter, ASE 2022; in gigabytes, rounded)."""

NO_EXTRA_TIME = 1.05
"""Times the weak model's: what still counts as "no extra time", as the paper gives no figure."""

Row = Mapping[str, Any]


def claims(rows: Sequence[Row], best: str) -> list[dict[str, Any]]:
    """The two claims of one choice of networks.

    Args:
        rows: of it.
        best: the executor that the service runs them by.

    Returns:
        ``no extra time``: for each batch the way to run both networks whose interval ends lowest,
        with its ratio to the weak model, and the batches at which that end is low enough.
        ``memory``: the process's and the weights', patched to weak, at the smallest batch; None
        where memory was not measured.
    """
    return [_no_extra_time(rows), _memory(rows, best)]


def _no_extra_time(rows: Sequence[Row]) -> dict[str, Any]:
    batches = sorted({one["batch"] for one in rows})
    fastest = [
        min(
            (one for one in rows if one["name"] == "patched" and one["batch"] == batch),
            key=lambda one: float(one["ratio_high"]),
        )
        for batch in batches
    ]
    names = ("batch", "executor", "ratio_to_weak", "ratio_low", "ratio_high")
    return {
        "name": "no extra time",
        "limit": NO_EXTRA_TIME,
        "holds_at": [one["batch"] for one in fastest if one["ratio_high"] <= NO_EXTRA_TIME],
        "fastest": [{name: one[name] for name in names} for one in fastest],
    }


def _memory(rows: Sequence[Row], best: str) -> dict[str, Any]:
    smallest = min(one["batch"] for one in rows)
    weak, patched = (
        next(
            one
            for one in rows
            if (one["name"], one["executor"], one["batch"]) == (name, best, smallest)
        )
        for name in ("weak", "patched")
    )

    def ratio(name: str) -> float | None:
        return patched[name] / weak[name] if weak[name] and patched[name] else None

    return {
        "name": "memory",
        "paper_ratio": PAPER_MEMORY_RATIO,
        "process_ratio": ratio("process_bytes"),
        "weights_ratio": ratio("weight_bytes"),
    }
