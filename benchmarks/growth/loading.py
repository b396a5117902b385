"""What loading a patched model takes, as the service does it, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

from benchmarks.growth.held import resident_bytes
from registry.loading import Loaded, PartSource
from registry.registry import Registry
from registry.store.client import open_store
from serving.engine.executors.choosing import possible_executors
from serving.engine.packing import place
from serving.residency.building import Builder
from serving.residency.parts import PartCache, give_memory_back

Found = dict[str, float]


def measure_loading(home: Path, uri: str, *, batch: int, threads: int) -> Found:
    """Load a patched model in a fresh process, twice.

    Args:
        home: of its registry.
        uri: its address.
        batch: images that go through the networks at once, at most.
        threads: of one operation.

    Returns:
        ``first_load_seconds``: every bundle is fetched from the store, checked and kept; networks
        are made, checked by their test predictions and warmed, and executors compared.
        ``load_seconds``: the same once more, with the bundles at hand; checked again.
        ``read_seconds``: of that, until the networks are made and checked.
        ``process_bytes``: by which the process grew by the first load. ``weight_bytes``: of the
        networks. ``disk_bytes``: of the bundles.

    Raises:
        BrokenProcessPool: if the process ends before it has told.
    """
    context = multiprocessing.get_context("spawn")  # a forked one would have all of this one's
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(loaded, home, uri, batch=batch, threads=threads).result()


def loaded(home: Path, uri: str, *, batch: int, threads: int) -> Found:
    """The same in this process, which it leaves with a cache that is gone."""
    torch.set_num_threads(threads)
    with TemporaryDirectory(prefix="patchbay-growth-") as cache:
        os.environ["PATCHBAY_CACHE"] = cache
        registry = TimedRegistry(open_store(home, must_exist=True))
        version = registry.find(uri)
        executors = possible_executors("cpu", batch_size=batch)
        parts = PartCache(place=partial(place, device=executors[0].device))
        builder = Builder(parts, executors, home=home)
        give_memory_back()
        before, began = resident_bytes(), perf_counter()
        served = builder.build(registry, version)
        first_load_seconds = perf_counter() - began
        give_memory_back()
        found: Found = {
            "process_bytes": resident_bytes() - before,
            "weight_bytes": parts.size_bytes,
            "disk_bytes": _bytes_in(Path(cache)),
            "first_load_seconds": first_load_seconds,
        }
        served.leases.close()
        del served
        parts.evict_unused()
        began = perf_counter()
        builder.build(registry, version).leases.close()
        load_seconds = perf_counter() - began
        return found | {"load_seconds": load_seconds, "read_seconds": registry.load_seconds}


class TimedRegistry(Registry):
    """A registry that notes how long its last load took."""

    load_seconds = 0.0

    def load(self, uri: str, *, parts: PartSource | None = None) -> Loaded:
        """As a registry does."""
        began = perf_counter()
        found = super().load(uri, parts=parts)
        self.load_seconds = perf_counter() - began
        return found


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
