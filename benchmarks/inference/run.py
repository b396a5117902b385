"""The whole measurement: latency, memory, ratios, and what they come to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.environment import environment
from benchmarks.inference.aims import verdicts
from benchmarks.inference.contenders import Row, contender, default_executor, executors_of, rows_of
from benchmarks.inference.latency import Latencies, measure_latency
from benchmarks.inference.memory import Held, measure_memory
from benchmarks.inference.processes import two_processes
from benchmarks.inference.settings import InferenceSettings
from benchmarks.inference.subject import Subject
from benchmarks.serving.verdicts import estimate
from modularizer.devices import arithmetic

Tell = Callable[[str], None]


def measure_inference(
    asked: Sequence[InferenceSettings], *, told: Tell = lambda line: None
) -> dict[str, Any]:
    """Measure what patches cost beside the weak model alone.

    Args:
        asked: what is measured, and how often: one for each architecture, on one device.
        told: called with a line whenever something is done.

    Returns:
        ``rows`` and ``verdicts``, each with its ``architecture``; ``networks`` and ``settings``
        by architecture; ``environment``. JSON values.

    Raises:
        RuntimeError: if a process that measures fails, or the device is not there.
    """
    found: dict[str, Any] = {"rows": [], "verdicts": [], "networks": {}, "settings": {}}
    for settings in asked:
        one = _measure(settings, told)
        name = settings.architecture
        for kind in ("rows", "verdicts"):
            found[kind] += [{"architecture": name, **entry} for entry in one[kind]]
        found["networks"][name] = one["networks"]
        found["settings"][name] = settings.model_dump(mode="json")
    device = asked[0].device
    return found | {"environment": environment(device) | clocks(device)}


def _measure(settings: InferenceSettings, told: Tell) -> dict[str, Any]:
    """The rows and verdicts of one architecture, and what its networks cost."""
    torch.set_num_threads(settings.threads)
    with arithmetic(settings.precision):
        subject = Subject(settings)
        rows = rows_of(settings)
        executors = executors_of(settings)
        contenders = [contender(row, subject, executors) for row in rows]
        measured = []
        for batch in settings.batches:
            images = subject.images(batch)
            measured.append(
                measure_latency(
                    contenders, images, repeats=settings.repeats, seed=settings.seed + batch
                )
            )
            told(f"{settings.architecture}: batch {batch} is timed")
        networks = {row.name: _counted(row.networks(subject), subject) for row in rows}
        apart = _apart(settings, measured, told) if settings.processes else []
    del contenders, executors, subject
    held: dict[tuple[str, str], dict[int, Held]] = {}
    if settings.memory:
        for row in rows:
            held[row.key] = measure_memory(row, settings)
        told(f"{settings.architecture}: memory is measured")
    found = [_row(row, one, held, networks, settings) for one in measured for row in rows]
    return {
        "rows": found + apart,
        "verdicts": verdicts(settings, measured, found, networks),
        "networks": networks,
    }


def clocks(device: str) -> dict[str, Any]:
    """A GPU's clocks as they are, in MHz; nothing of a CPU."""
    if device == "cpu":
        return {}
    try:
        return {"gpu_clock_mhz": torch.cuda.clock_rate()}
    except (ImportError, RuntimeError) as error:
        return {"gpu_clock_mhz": None, "gpu_clock_unknown": str(error)[:100]}


def _counted(networks: Sequence[nn.Module], subject: Subject) -> dict[str, int]:
    """Kernels, parameters and multiply-adds of one image, by torch's own counter."""
    images = subject.images(1)
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), warnings.catch_warnings(), counter:
        warnings.simplefilter("ignore")
        for one in networks:
            one.run(images)  # type: ignore[operator]
    modules = [module for one in networks for module in one.modules()]
    return {
        "kernels": sum(one.out_channels for one in modules if isinstance(one, nn.Conv2d)),
        "parameters": sum(p.numel() for one in networks for p in one.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
    }


def _row(
    row: Row,
    latencies: Latencies,
    held: dict[tuple[str, str], dict[int, Held]],
    networks: dict[str, dict[str, int]],
    settings: InferenceSettings,
) -> dict[str, Any]:
    ratio = latencies.ratio(row.key, ("weak", row.beside))
    memory = held.get(row.key, {}).get(latencies.batch, {})
    names = ("weight_bytes", "peak_allocated_bytes", "peak_reserved_bytes", "process_bytes")
    return {
        "name": row.name,
        "executor": row.executor,
        "device": settings.device,
        "batch": latencies.batch,
        **latencies.figures(row.key),
        "ratio_to_weak": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        **{name: memory.get(name) for name in names},
        **networks[row.name],
    }


def _apart(
    settings: InferenceSettings, measured: Sequence[Latencies], told: Tell
) -> list[dict[str, Any]]:
    """Rows of two processes, by the clock; beside the weak model in this one, by the clock."""
    best = default_executor(settings)
    rows = []
    with two_processes(settings) as both:
        for latencies in measured:
            both.get_ready(latencies.batch)
            both.run()
            ms = [both.run() for _ in range(settings.repeats)]
            p50, p90, p99 = (float(one) for one in np.percentile(ms, (50, 90, 99)))
            weak = float(np.median(latencies.clock_ms["weak", best]))
            ratio = estimate([one / weak for one in ms])
            rows.append(
                {
                    "name": "patched",
                    "executor": "two_processes",
                    "device": settings.device,
                    "batch": latencies.batch,
                    "p50_ms": p50,
                    "p90_ms": p90,
                    "p99_ms": p99,
                    "lowest_ms": min(ms),
                    "highest_ms": max(ms),
                    "clock_p50_ms": p50,
                    "images_per_second": 1000 * latencies.batch / p50,
                    "repeats": len(ms),
                    "ratio_to_weak": ratio.median,
                    "ratio_low": ratio.low,
                    "ratio_high": ratio.high,
                }
            )
    told(f"{settings.architecture}: two processes are timed")
    return rows
