"""A soak from start to end: capacity, load with changes, what came of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from benchmarks.serving.answers import OK
from benchmarks.serving.asking import Asking, ask
from benchmarks.serving.cores import choose_cores
from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.memory_watch import MemoryWatch
from benchmarks.serving.orders import ClosedLoop, OpenLoop
from benchmarks.serving.peers import PACKAGES, patchbay_service
from benchmarks.serving.quantiles import quantile
from benchmarks.serving.rows import Measured, row
from benchmarks.soak.changes import Changes, Happened
from benchmarks.soak.memory import growth
from benchmarks.soak.settings import SoakSettings
from benchmarks.soak.versions import ALIAS, NAME, Versions
from registry.registry import Registry

POLL_SECONDS = 2.0
"""How often the service looks where its alias stands."""

GROWTH_AIM = 0.05
"""Of the memory that it holds in the first whole round after the warm-up."""

_STRETCH_SECONDS = 60.0


def soak(
    registry: Registry,
    home: Path,
    versions: Versions,
    settings: SoakSettings,
    *,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Ask the service for as long as the settings say while its alias moves and models come and go.

    Args:
        registry: where the versions are.
        home: its folder.
        versions: what the alias moves between.
        settings: how long, how much.
        told: called with a line whenever something is done.

    Returns:
        ``rows``, ``stretches``, ``changes``, ``memory``, ``verdicts`` and what all of it was
        measured on, as JSON values.

    Raises:
        ServingError: if the service or the load generator does not start, or ends; or what
            happens beside the load does not.
    """
    cores = choose_cores()
    uri = f"models:/{NAME}@{ALIAS}"
    with (
        LoadGenerator(cores.load) as generator,
        patchbay_service(uri, home, core=cores.service, poll_seconds=POLL_SECONDS) as peer,
    ):
        told(f"the service is ready after {peer.startup_seconds:.1f} s")
        asking = Asking("patched", peer, versions.payload)
        capacity = _capacity(generator, asking, settings)
        rate = settings.load_share * capacity.requests_per_second
        told(f"{capacity.requests_per_second:,.0f} requests/s at best, {rate:,.0f} from now on")
        url = f"http://{peer.host}:{peer.port}"
        with (
            MemoryWatch(peer.processes) as memory,
            Changes(registry, versions, url, settings, core=cores.load) as changes,
        ):
            loop = OpenLoop(arrivals="poisson", rate=max(rate, 1.0), seed=settings.seed)
            measured = ask(generator, asking, loop, seconds=settings.seconds)
    offered = {"arrivals": "poisson", "clients": None, "offered_per_second": rate}
    load = row("patched", "npy", [measured], **offered)
    bounds = changes.happened.round_bounds(
        versions.uris[0], settings.warm_up_seconds, settings.seconds
    )
    held = _memory(memory.seen, bounds)
    best = row("patched", "npy", [capacity], clients=settings.clients, arrivals="closed")
    return {
        "rows": [best, load],
        "stretches": _stretches(measured),
        "changes": changes.happened.as_json(),
        "memory": held,
        "verdicts": _verdicts(load, changes.happened, held["growth"]),
        "settings": settings.model_dump(mode="json") | {"poll_seconds": POLL_SECONDS},
        "startup_seconds": peer.startup_seconds,
        "cores": cores.as_json(),
        "environment": environment(packages=PACKAGES),
    }


def _capacity(generator: LoadGenerator, asking: Asking, settings: SoakSettings) -> Measured:
    """What the service answers at best, with nothing happening beside it."""
    seconds = settings.capacity_seconds
    loop = ClosedLoop(clients=settings.clients)
    return ask(generator, asking, loop, seconds=seconds, warm_up_seconds=min(seconds, 3.0))


def _stretches(measured: Measured) -> list[dict[str, Any]]:
    """What came of each minute's requests, by when they were due."""
    ok = measured.window.answered.get(OK)
    if ok is None:
        return []
    minutes: list[list[float]] = [
        [] for _ in range(math.ceil(measured.window.seconds / _STRETCH_SECONDS))
    ]
    for sent, latency in zip(ok.sent_s, ok.latency_ms, strict=True):
        minutes[int(sent // _STRETCH_SECONDS)].append(latency)
    return [
        {
            "from_seconds": number * _STRETCH_SECONDS,
            "answers": len(found),
            **{name: quantile(found, q) for name, q in (("p50_ms", 0.5), ("p99_ms", 0.99))},
            "longest_ms": max(found, default=None),
        }
        for number, found in enumerate(minutes)
    ]


def _memory(looks: Sequence[tuple[float, float]], bounds: list[float]) -> dict[str, Any]:
    held = [mib for _, mib in looks]
    return {
        "growth": growth(looks, bounds=bounds),
        "round_bounds": bounds,
        "first_mib": held[0],
        "last_mib": held[-1],
        "most_mib": max(held),
        "seen": [(round(seconds, 1), round(mib, 1)) for seconds, mib in looks[::5]],
    }


def _verdicts(
    load: dict[str, Any], happened: Happened, grown: float | None
) -> list[dict[str, Any]]:
    """Each aim of a soak, what came of it, and whether it is met."""
    served = [move.served_after_seconds for move in happened.moves]
    return [
        _verdict("failed or wrong answers", load["failures"], load["failures"] == 0, "0"),
        _verdict("moves of the alias not followed", served.count(None), None not in served, "0"),
        _verdict("loads and unloads refused", len(happened.refused), not happened.refused, "0"),
        _verdict(
            "growth of memory from the first to the last whole round",
            grown,
            None if grown is None else grown < GROWTH_AIM,
            f"below {GROWTH_AIM}",
        ),
    ]


def _verdict(name: str, found: float | None, is_met: bool | None, aim: str) -> dict[str, Any]:
    verdict = "undecided" if is_met is None else "met" if is_met else "missed"
    return {"name": name, "found": found, "aim": aim, "verdict": verdict}


def all_met(verdicts: Sequence[dict[str, Any]]) -> bool:
    """Whether no aim of a soak is missed."""
    return all(one["verdict"] != "missed" for one in verdicts)
