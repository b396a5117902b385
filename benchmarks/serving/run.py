"""The whole measurement: servers up, rows in turns, ratios, servers down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from benchmarks.serving.asking import Asking, ask
from benchmarks.serving.comparisons import compare_peers, compare_sides, overhead
from benchmarks.serving.contenders import CONTENDERS, is_installed
from benchmarks.serving.cores import Cores, choose_cores
from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.orders import ClosedLoop
from benchmarks.serving.own_times import run_own_times
from benchmarks.serving.payloads import Payload, file_payloads, v2_payloads
from benchmarks.serving.peer import Peer
from benchmarks.serving.peers import PACKAGES, patchbay_service, trivial_server
from benchmarks.serving.rounds import Rounds, fastest, run_rounds
from benchmarks.serving.rows import row
from benchmarks.serving.settings import ServingBenchSettings
from benchmarks.serving.subject import Subject
from registry.registry import Registry

COMPARED = "npy"
"""The form in which the patched and the weak model are compared."""

_SMALL = ("npy", "png", "v2-json", "v2-binary")
"""Forms that hold the same small picture; a photograph is another task."""

_WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Bench:
    """What a measurement works with.

    Attributes:
        subject: what is served.
        generator: puts the load.
        settings: how much.
        cores: who runs where.
        told: called with a line whenever something is done.
    """

    subject: Subject
    generator: LoadGenerator
    settings: ServingBenchSettings
    cores: Cores
    told: Callable[[str], None] = field(default=lambda line: None)

    def warmed(self, asking: Asking) -> Asking:
        """The same, after it has been asked for a while."""
        seconds = min(_WARM_UP_SECONDS, self.settings.window_seconds)
        ask(self.generator, asking, ClosedLoop(clients=4), seconds=seconds)
        return asking


def measure_serving(
    registry: Registry,
    home: Path,
    subject: Subject,
    settings: ServingBenchSettings,
    *,
    scratch: Path,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the service over HTTP on loopback, patched and with the weak model alone.

    All servers share a core, so whoever is not asked is paused: LitServe's processes take a
    seventh of it while they wait.

    Args:
        registry: where the subject is.
        home: its folder.
        subject: what is served.
        settings: how much is measured.
        scratch: an empty folder.
        told: called with a line whenever something is done.

    Returns:
        ``rows``, ``comparisons``, ``overload``, ``peers``, ``networks``, ``generator`` and what
        all of it was measured on, as JSON values.

    Raises:
        ServingError: if a server or the load generator does not start, or ends.
    """
    cores = choose_cores()
    with ExitStack() as stack:
        generator = stack.enter_context(LoadGenerator(cores.load))
        bench = Bench(subject, generator, settings, cores, told)
        ceiling = _ceiling(bench, scratch)
        peers = _started(bench, registry, home, scratch, stack)
        found = _measure(bench, peers)
        found["peers"] = {
            name: {
                "startup_seconds": peer.startup_seconds,
                "rss_mib": max(one["rss_mib"] for one in found["rows"] if _is_of(one, name)),
            }
            for name, peer in peers.items()
        }
    busiest = max(one["generator_cpu_share"] for one in found["rows"])
    found["generator"] = {"ceiling": ceiling, "largest_cpu_share": busiest}
    return found | {
        "subject": subject.facts(),
        "settings": settings.model_dump(mode="json"),
        "cores": cores.as_json(),
        "environment": environment(
            packages=sorted({*PACKAGES, *filter(is_installed, settings.peers)})
        ),
    }


def _started(
    bench: Bench, registry: Registry, home: Path, scratch: Path, stack: ExitStack
) -> dict[str, Peer]:
    """The service and what is measured beside it, by name, all paused; they end with the stack."""
    subject, core = bench.subject, bench.cores.service
    peers = {}
    for name in ("patchbay", *bench.settings.peers):
        if name == "patchbay":
            server = patchbay_service(subject.uri, home, core=core)
        elif is_installed(name):
            server = CONTENDERS[name].serving(registry, subject, scratch / name, core=core)
        else:
            bench.told(f"{name} is left out: it is not installed; it is of the extra dev")
            continue
        peer = stack.enter_context(server)
        bench.told(f"{name} is ready after {peer.startup_seconds:.1f} s")
        peer.processes.pause()
        peers[name] = peer
    return peers


def _is_of(found: dict[str, Any], server: str) -> bool:
    """Whether a row is of this server: the service has two sides."""
    return bool(found["name"] in (("patched", "weak") if server == "patchbay" else (server,)))


def _measure(bench: Bench, peers: dict[str, Peer]) -> dict[str, Any]:
    """Everything that needs the servers."""
    service, subject = peers["patchbay"], bench.subject
    ours = file_payloads(subject, "patched") | v2_payloads(subject)
    patched = _askings("patched", service, ours)
    weak = _askings("weak", service, file_payloads(subject, "weak"))
    for asking in (*patched.values(), weak[COMPARED]):
        bench.warmed(asking)
    best, trial = fastest(bench.generator, [patched[name] for name in _SMALL], bench.settings)
    askings = [patched[COMPARED], weak[COMPARED]]
    others = [one for one in patched.values() if one is not patched[COMPARED]]
    theirs = []
    for name in [name for name in peers if name != "patchbay"]:
        forms = _askings(name, peers[name], CONTENDERS[name].payloads(subject)).values()
        chosen, tried = fastest(bench.generator, [*map(bench.warmed, forms)], bench.settings)
        trial += tried
        theirs.append(chosen)
    said = ", ".join(f"{one.name}'s {one.payload.name}" for one in theirs)
    bench.told(f"the best forms: {best.payload.name}" + (f", {said}" if said else ""))
    askings += theirs
    # The patched model's best form stands beside those of the others, whichever it is.
    others.sort(key=lambda one: one is not best)
    rounds = run_rounds(
        *(bench.generator, [*askings, *others], bench.subject, bench.settings),
        service_core=bench.cores.service,
        told=bench.told,
    )
    rows = rounds.rows()
    peak = max(
        one["requests_per_second"]
        for one in rows
        if (one["name"], one["payload"]) == ("patched", COMPARED)
    )
    own_rows, overload = run_own_times(
        bench.generator, patched[COMPARED], bench.settings, peak_per_second=max(peak, 1.0)
    )
    bench.told("overload and recovery are done")
    return {
        "rows": rows + own_rows,
        "comparisons": _comparisons(rounds, bench.settings.clients, best, theirs),
        "overload": overload,
        "networks": [asdict(one) for times in rounds.networks.values() for one in times],
        "forms": trial,
    }


def _askings(name: str, peer: Peer, payloads: dict[str, Payload]) -> dict[str, Asking]:
    return {form: Asking(name, peer, payload) for form, payload in payloads.items()}


def _comparisons(
    rounds: Rounds, clients: tuple[int, ...], best: Asking, theirs: Sequence[Asking]
) -> list[dict[str, Any]]:
    found = []
    for count in clients:
        ours = ("patched", COMPARED, count)
        found += compare_sides(rounds, ours, ("weak", COMPARED, count))
        fast = (best.name, best.payload.name, count)
        others = [(one.name, one.payload.name, count) for one in theirs]
        found += [compare_peers(rounds, fast, other) for other in others]
        found.append(overhead(rounds, ours))
    return found


def _ceiling(bench: Bench, scratch: Path) -> list[dict[str, Any]]:
    """How fast the generator asks where answers cost nothing, with the bodies of the rows."""
    payload = file_payloads(bench.subject, "patched")[COMPARED]
    [label] = payload.exchanges[0].labels
    same = tuple(one for one in payload.exchanges if one.labels == (label,))
    payload = Payload(payload.name, payload.path, payload.headers, same)
    found = []
    with trivial_server(label, scratch / "trivial", core=bench.cores.service) as peer:
        for clients in bench.settings.clients:
            seconds = min(1.0, bench.settings.window_seconds)
            loop = ClosedLoop(clients=clients)
            measured = ask(bench.generator, Asking("trivial", peer, payload), loop, seconds=seconds)
            found.append(
                row("trivial", payload.name, [measured], clients=clients, arrivals="closed")
            )
    bench.told("the generator's ceiling is known")
    return found
