"""The whole measurement: latency, memory, ratios, and what they come to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.environment import environment, processor_info
from benchmarks.inference.aims import verdicts
from benchmarks.inference.claims import claims
from benchmarks.inference.contenders import (
    Contender,
    Row,
    contender,
    default_executor,
    executors_of,
    rows_of,
)
from benchmarks.inference.latency import Latencies, measure_latency, quantiles, time_once
from benchmarks.inference.memory import Held, measure_memory
from benchmarks.inference.processes import two_processes
from benchmarks.inference.settings import InferenceSettings
from benchmarks.inference.subject import Subject
from benchmarks.serving.verdicts import Estimate, estimate
from modularizer.classifier import ImageNetwork
from modularizer.devices import arithmetic

Tell = Callable[[str], None]


def measure_inference(
    asked: Sequence[InferenceSettings], *, told: Tell = lambda line: None
) -> dict[str, Any]:
    """Measure what patches cost beside the weak model alone.

    Args:
        asked: what is measured, and how often: one for each choice of networks, on one device.
        told: called with a line whenever something is done.

    Returns:
        ``rows``, ``claims`` and ``verdicts``, each with its ``model``; ``networks`` and
        ``settings`` by model; ``environment``. JSON values.

    Raises:
        RuntimeError: if a process that measures fails, or the device is not there.
    """
    kinds = ("rows", "claims", "verdicts")
    found: dict[str, Any] = {kind: [] for kind in kinds} | {"networks": {}, "settings": {}}
    for settings in asked:
        name, one = settings.networks.name, _measure(settings, told)
        for kind in kinds:
            found[kind] += [{"model": name, **entry} for entry in one[kind]]
        found["networks"][name] = one["networks"]
        found["settings"][name] = settings.model_dump(mode="json")
    device = asked[0].device
    return found | {"environment": environment(device) | clocks(device)}


def _measure(settings: InferenceSettings, told: Tell) -> dict[str, Any]:
    """The rows and verdicts of one choice of networks, and what they cost."""
    torch.set_num_threads(settings.threads)
    name = settings.networks.name
    with arithmetic(settings.precision):
        contenders = _contenders(settings)
        measured = []
        for batch in settings.batches:
            measured.append(
                measure_latency(
                    [(one, subject.inputs(one.networks, batch)) for one, subject in contenders],
                    batch=batch,
                    repeats=settings.repeats,
                    seed=settings.seed + batch,
                )
            )
            told(f"{name}: batch {batch} is timed")
        networks = _counted(settings)
        apart = (
            _apart(settings, *contenders[0]) if settings.processes and not settings.forms else []
        )
    rows = [one.row for one, _ in contenders]
    del contenders
    held: dict[tuple[str, str], dict[int, Held]] = {}
    if settings.memory and not settings.forms:
        for row in rows:
            held[row.key] = measure_memory(row, settings)
        told(f"{name}: memory is measured")
    found = [_row(row, one, held, networks, settings) for one in measured for row in rows] + apart
    return {
        "rows": found,
        "claims": [] if settings.forms else claims(found, default_executor(settings)),
        "verdicts": [] if settings.forms else verdicts(settings, measured, found, networks),
        "networks": networks,
    }


def _contenders(settings: InferenceSettings) -> list[tuple[Contender, Subject]]:
    """All rows, which share networks where they take them in the same form."""
    executors = executors_of(settings)
    subjects: dict[bool, Subject] = {}
    found = []
    for row in rows_of(settings):
        subject = row.subject(settings)
        subject = subjects.setdefault(subject.is_packed, subject)
        found.append((contender(row, subject, executors), subject))
    return found


def clocks(device: str) -> dict[str, Any]:
    """Clocks as they are found, in MHz: a GPU's, or a processor's by its first core."""
    if device == "cpu":
        mhz = processor_info("cpu MHz")
        return {"cpu_clock_mhz": None if mhz is None else float(mhz)}
    try:
        return {"gpu_clock_mhz": torch.cuda.clock_rate()}
    except (ImportError, RuntimeError) as error:
        return {"gpu_clock_mhz": None, "gpu_clock_unknown": str(error)[:100]}


def _counted(settings: InferenceSettings) -> dict[str, dict[str, int]]:
    """Kernels, parameters and multiply-adds of one image, of each row, by torch's own counter."""
    subject = Subject(settings.model_copy(update={"device": "cpu"}), is_packed=False)
    found: dict[str, dict[str, int]] = {}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in rows_of(settings):
            if row.name not in found:
                found[row.name] = _count(row.networks(subject), subject)
    return found


def _count(networks: Sequence[ImageNetwork], subject: Subject) -> dict[str, int]:
    counter = FlopCounterMode(display=False)
    with counter:
        for one, x in zip(networks, subject.inputs(networks, 1), strict=True):
            one.network(x)
    layers = [layer for one in networks for layer in one.modules()]
    return {
        "kernels": sum(one.out_channels for one in layers if isinstance(one, nn.Conv2d)),
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
    ratio = latencies.ratio(row.key, ("weak", default_executor(settings)))
    memory = held.get(row.key, {}).get(latencies.batch, {})
    names = ("weight_bytes", "peak_allocated_bytes", "peak_reserved_bytes", "process_bytes")
    return {
        "name": row.name,
        "executor": row.executor,
        "device": settings.device,
        "batch": latencies.batch,
        **latencies.figures(row.key),
        **_to_weak(ratio),
        **{name: memory.get(name) for name in names},
        **networks[row.name],
    }


def _apart(settings: InferenceSettings, weak: Contender, subject: Subject) -> list[dict[str, Any]]:
    """Rows of two processes, by the clock; each run beside one of the weak model in this one."""
    rows = []
    with two_processes(settings) as both, torch.inference_mode():
        for batch in settings.batches:
            inputs = subject.inputs(weak.networks, batch)
            weak.warm(inputs)
            both.get_ready(batch)
            both.run()
            pairs = [
                (both.run(), time_once(weak, inputs).clock_ms) for _ in range(settings.repeats)
            ]
            ms = [ours for ours, _ in pairs]
            ratio = estimate([ours / alone for ours, alone in pairs])
            rows.append(
                {
                    "name": "patched",
                    "executor": "two_processes",
                    "device": settings.device,
                    "batch": batch,
                    **quantiles(ms),
                    "clock_p50_ms": float(np.median(ms)),
                    "images_per_second": 1000 * batch / float(np.median(ms)),
                    "repeats": len(ms),
                    **_to_weak(ratio),
                }
            )
    return rows


def _to_weak(ratio: Estimate) -> dict[str, float]:
    return {
        "ratio_to_weak": ratio.median,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
    }
