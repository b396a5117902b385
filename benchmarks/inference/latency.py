"""How long each row takes at a batch size: in turns, so that drift favours none."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.inference.contenders import Contender
from benchmarks.serving.verdicts import Estimate, estimate

Key = tuple[str, str]

_BRANCH_REPEATS = 20


@dataclass(frozen=True)
class Latencies:
    """What was measured at one batch size.

    Attributes:
        batch: images at once.
        ms: for each row one value a round: device events on a GPU, the clock on a CPU.
        clock_ms: the same by the clock, from the call until the device is done.
        branch_ms: for each row the median of each network's own time, while all of them run; on
            a CPU in the same rounds, on a GPU in some of their own, as its events take time.
    """

    batch: int
    ms: dict[Key, list[float]]
    clock_ms: dict[Key, list[float]]
    branch_ms: dict[Key, list[float]]

    def ratio(self, key: Key, *others: Key) -> Estimate:
        """Of a row's time to the sum of others', within each round."""
        return estimate(
            [
                one / sum(rest)
                for one, *rest in zip(
                    self.ms[key], *(self.ms[other] for other in others), strict=True
                )
            ]
        )

    def figures(self, key: Key) -> dict[str, Any]:
        """Quantiles of a row's times, as JSON values."""
        found = quantiles(self.ms[key])
        return {
            **found,
            "clock_p50_ms": float(np.median(self.clock_ms[key])),
            "images_per_second": 1000 * self.batch / found["p50_ms"],
            "branch_ms": self.branch_ms[key],
            "repeats": len(self.ms[key]),
        }


def quantiles(ms: Sequence[float]) -> dict[str, float]:
    """What times come to, as JSON values."""
    p50, p90, p99 = (float(one) for one in np.percentile(ms, (50, 90, 99)))
    return {
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "lowest_ms": min(ms),
        "highest_ms": max(ms),
    }


def measure_latency(
    contenders: Sequence[tuple[Contender, Sequence[Tensor]]],
    *,
    batch: int,
    repeats: int,
    seed: int,
) -> Latencies:
    """Run every contender once a round, in another order each round.

    Args:
        contenders: with their prepared images, on the device; warmed here.
        batch: how many images that are.
        repeats: rounds.
        seed: of the orders.
    """
    order, shuffle = list(contenders), random.Random(seed)
    timed: dict[Key, list[Timed]] = {one.row.key: [] for one, _ in contenders}
    with torch.inference_mode():
        for one, inputs in contenders:
            one.warm(inputs)
        for _ in range(repeats):
            shuffle.shuffle(order)
            for one, inputs in order:
                timed[one.row.key].append(time_once(one, inputs))
        branches = {
            one.row.key: _branches_by_events(one, inputs)
            if inputs[0].is_cuda
            else [run.branch_ms for run in timed[one.row.key]]
            for one, inputs in contenders
        }
    return Latencies(
        batch,
        {key: [run.ms for run in runs] for key, runs in timed.items()},
        {key: [run.clock_ms for run in runs] for key, runs in timed.items()},
        {key: [float(ms) for ms in np.median(runs, axis=0)] for key, runs in branches.items()},
    )


@dataclass(frozen=True)
class Timed:
    """One run, in milliseconds.

    Attributes:
        ms: by device events on a GPU, else by the clock.
        clock_ms: by the clock.
        branch_ms: each network's, by the clock; none on a GPU.
    """

    ms: float
    clock_ms: float
    branch_ms: Sequence[float]


def time_once(one: Contender, inputs: Sequence[Tensor]) -> Timed:
    """Run a row's networks once."""
    if inputs[0].is_cuda:
        return Timed(*_by_events(partial(one.run, inputs)), ())
    branches: dict[int, float] = {}
    began = perf_counter()
    one.run(inputs, timed=branches.__setitem__)
    took = 1000 * (perf_counter() - began)
    return Timed(took, took, [1000 * branches[place] for place in range(len(inputs))])


def _by_events(run: Callable[[], Any]) -> tuple[float, float]:
    """From an event before the first kernel to one after the last, on an idle device."""
    torch.cuda.synchronize()
    first = torch.cuda.Event(enable_timing=True)
    last = torch.cuda.Event(enable_timing=True)
    began = perf_counter()
    first.record()
    run()
    last.record()
    last.synchronize()
    clock = 1000 * (perf_counter() - began)
    return float(first.elapsed_time(last)), clock


def _branches_by_events(one: Contender, inputs: Sequence[Tensor]) -> list[Sequence[float]]:
    found: list[Sequence[float]] = []
    for _ in range(_BRANCH_REPEATS):
        branches: dict[int, float] = {}
        one.run(inputs, timed=branches.__setitem__)
        found.append([1000 * branches[place] for place in range(len(inputs))])
    return found
