"""What is aimed at, and whether it is met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.inference.contenders import default_executor
from benchmarks.inference.latency import Latencies
from benchmarks.inference.settings import InferenceSettings
from benchmarks.serving.verdicts import Estimate, judge

FEWEST_PAIRS = 50
"""Pairs of measurements that an aim is judged on."""

GPU_RATIO_AIM = 1.10
"""Of the weak model's time, at the batches of `GPU_RATIO_BATCHES`."""

GPU_RATIO_BATCHES = (1, 8)

GPU_SUM_AIM = 1.0
"""Of the weak model's time alone and the module's alone, at every batch."""

GPU_MEMORY_AIM = 1.10
"""Of the memory that a process with the weak model alone holds."""

CPU_SUM_AIM = 1.05
"""Of the weak model's time alone and the module's alone."""

CPU_SHARE_AIM = 1.15
"""A module's share of the strong model's time, as a multiple of its share of multiply-adds."""


def verdicts(
    settings: InferenceSettings,
    measured: Sequence[Latencies],
    rows: Sequence[dict[str, Any]],
    networks: dict[str, dict[str, int]],
) -> list[dict[str, Any]]:
    """Each aim of the device at each batch, with the median of the pairs' ratios.

    Args:
        settings: what was measured.
        measured: latencies, by batch.
        rows: with their memory.
        networks: what each row's networks cost.
    """
    best = default_executor(settings)
    weak, module, patched = ((name, best) for name in ("weak", "module", "patched"))
    found = []
    for one in measured:
        to_sum = one.ratio(patched, weak, module)
        if settings.device == "cuda":
            if one.batch in GPU_RATIO_BATCHES:
                ratio = one.ratio(patched, weak)
                found.append(_judged("patched / weak", one.batch, ratio, GPU_RATIO_AIM))
            found.append(_judged("patched / (weak + module)", one.batch, to_sum, GPU_SUM_AIM))
        else:
            found.append(_judged("patched / (weak + module)", one.batch, to_sum, CPU_SUM_AIM))
            found += [
                _judged(f"{name} / strong, by their multiply-adds", one.batch, share, CPU_SHARE_AIM)
                for name in ("module", "module_aligned")
                if (share := _share(one, name, best, networks)) is not None
            ]
    if settings.device == "cuda" and settings.memory:
        found += _memory_verdicts(rows, best)
    return found


def _share(
    measured: Latencies, name: str, best: str, networks: dict[str, dict[str, int]]
) -> Estimate | None:
    """A module's share of the strong model's time over that of its multiply-adds."""
    if not {name, "strong"} <= networks.keys():
        return None
    share = networks[name]["multiply_adds"] / networks["strong"]["multiply_adds"]
    of_strong = measured.ratio((name, best), ("strong", best))
    return Estimate(
        of_strong.median / share, of_strong.low / share, of_strong.high / share, of_strong.pairs
    )


def _judged(name: str, batch: int, ratio: Estimate, aim: float) -> dict[str, Any]:
    enough = ratio.pairs >= FEWEST_PAIRS
    return {
        "name": name,
        "batch": batch,
        "median": ratio.median,
        "low": ratio.low,
        "high": ratio.high,
        "pairs": ratio.pairs,
        "aim": aim,
        "verdict": judge(ratio, aim, "at most") if enough else "undecided",
    }


def _memory_verdicts(rows: Sequence[dict[str, Any]], best: str) -> list[dict[str, Any]]:
    held = {
        (one["name"], one["batch"]): one["process_bytes"] for one in rows if one["executor"] == best
    }
    return [
        {
            "name": "memory of the process, patched / weak",
            "batch": batch,
            "median": held["patched", batch] / weak,
            "aim": GPU_MEMORY_AIM,
            "verdict": "met" if held["patched", batch] <= GPU_MEMORY_AIM * weak else "missed",
        }
        for (name, batch), weak in held.items()
        if name == "weak"
    ]
