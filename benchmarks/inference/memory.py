"""What a row holds: measured in a process of its own, which has nothing else."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from benchmarks.inference.contenders import Row, contender, executors_of, rows_of
from benchmarks.inference.settings import InferenceSettings
from serving.residency.parts import give_memory_back, network_bytes

Held = dict[str, int | None]
Peaks = Callable[[], Held]


def measure_memory(row: Row, settings: InferenceSettings) -> dict[int, Held]:
    """What a row holds at each batch size, smallest first, by a fresh process.

    Args:
        row: which.
        settings: of networks and batches.

    Returns:
        By batch: ``weight_bytes`` of parameters and buffers; ``peak_allocated_bytes`` and
        ``peak_reserved_bytes`` of torch's allocator, None on a CPU; ``process_bytes``: what the
        device's memory lacks because of the process, or the process's largest RSS on a CPU.

    Raises:
        BrokenProcessPool: if the process ends before it has told.
    """
    # A forked process has imported all at once; on a CPU its RSS would not be its own.
    context = multiprocessing.get_context("forkserver" if settings.device == "cuda" else "spawn")
    if settings.device == "cuda":
        context.set_forkserver_preload([__name__])
    before = _used() if settings.device == "cuda" else 0
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(held_by, row.key, settings).result()
    for held in found.values():
        if held["process_bytes"] is not None:
            held["process_bytes"] -= before
    return found


def held_by(key: tuple[str, str], settings: InferenceSettings) -> dict[int, Held]:
    """What this process holds with one row's networks, at each batch, smallest first."""
    torch.set_num_threads(settings.threads)
    torch.backends.cudnn.allow_tf32 = settings.precision == "tf32"
    [row] = [one for one in rows_of(settings) if one.key == key]
    subject = row.subject(settings)
    one = contender(row, subject, executors_of(settings))
    reset, peaks = _of_a_gpu() if settings.device == "cuda" else _of_a_cpu()
    weights = sum(network_bytes(network) for network in one.networks)
    give_memory_back()  # what the networks were made with
    found: dict[int, Held] = {}
    with torch.inference_mode():
        for batch in sorted(settings.batches):
            inputs = subject.inputs(one.networks, batch)
            reset()
            one.warm(inputs)
            found[batch] = {"weight_bytes": weights, **peaks()}
    return found


def _of_a_gpu() -> tuple[Callable[[], None], Peaks]:
    def peaks() -> Held:
        torch.cuda.synchronize()
        return {
            "peak_allocated_bytes": torch.cuda.max_memory_allocated(),
            "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
            "process_bytes": _used(),
        }

    return torch.cuda.reset_peak_memory_stats, peaks


def _of_a_cpu() -> tuple[Callable[[], None], Peaks]:
    def reset() -> None:
        Path("/proc/self/clear_refs").write_text("5")  # sets the largest RSS to that of now

    def peaks() -> Held:
        lines = Path("/proc/self/status").read_text().splitlines()
        [kib] = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return {
            "peak_allocated_bytes": None,
            "peak_reserved_bytes": None,
            "process_bytes": 1024 * int(kib),
        }

    return reset, peaks


def _used() -> int:
    """Bytes of the GPU that anybody uses."""
    free, total = torch.cuda.mem_get_info()
    return total - free
