"""The whole measurement: servers up, rows in turns, ratios, servers down."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from benchmarks.serving.asking import Asking, ask
from benchmarks.serving.comparisons import compare_peers, compare_sides, overhead
from benchmarks.serving.cores import Cores, choose_cores
from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.orders import ClosedLoop
from benchmarks.serving.own_times import run_own_times
from benchmarks.serving.payloads import Payload, file_payloads, mlflow_payloads, v2_payloads
from benchmarks.serving.peers import PACKAGES, Peer, mlflow_server, patchbay_service, trivial_server
from benchmarks.serving.rounds import Rounds, fastest, run_rounds
from benchmarks.serving.rows import row
from benchmarks.serving.settings import ServingBenchSettings
from benchmarks.serving.subject import Subject
from registry.registry import Registry
from serving.pyfunc import answer_columns

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
    with_mlflow: bool,
    scratch: Path,
    told: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the service over HTTP on loopback, patched and with the weak model alone.

    Args:
        registry: where the subject is.
        home: its folder.
        subject: what is served.
        settings: how much is measured.
        with_mlflow: whether MLflow's server of the same model is measured beside it.
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
        service = stack.enter_context(patchbay_service(subject.uri, home, core=cores.service))
        told(f"the service is ready after {service.startup_seconds:.1f} s")
        peers = {"patchbay": service}
        if with_mlflow:
            model = scratch / "model"
            columns = answer_columns(patched=True)
            registry.exchange.export_pyfunc(
                subject.uri, model, loader="serving.pyfunc", columns=columns
            )
            peers["mlflow"] = stack.enter_context(
                mlflow_server(model, scratch / "mlflow", core=cores.service)
            )
            told(f"MLflow's server is ready after {peers['mlflow'].startup_seconds:.1f} s")
        found = _measure(bench, peers)
        found["peers"] = {
            name: {"startup_seconds": peer.startup_seconds, "rss_mib": peer.processes.rss_mib()}
            for name, peer in peers.items()
        }
    busiest = max(one["generator_cpu_share"] for one in found["rows"])
    found["generator"] = {"ceiling": ceiling, "largest_cpu_share": busiest}
    return found | {
        "subject": subject.facts(),
        "settings": settings.model_dump(mode="json"),
        "cores": cores.as_json(),
        "environment": environment(packages=PACKAGES),
    }


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
    theirs = None
    if "mlflow" in peers:
        forms = _askings("mlflow", peers["mlflow"], mlflow_payloads(subject))
        theirs, tried = fastest(
            bench.generator, [bench.warmed(one) for one in forms.values()], bench.settings
        )
        trial += tried
        askings.append(theirs)
        bench.told(f"the best forms: {best.payload.name}, MLflow's {theirs.payload.name}")
    # The patched model's best form stands beside MLflow's, whichever it is.
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
    rounds: Rounds, clients: tuple[int, ...], best: Asking, theirs: Asking | None
) -> list[dict[str, Any]]:
    found = []
    for count in clients:
        ours = ("patched", COMPARED, count)
        found += compare_sides(rounds, ours, ("weak", COMPARED, count))
        if theirs is not None:
            other = (theirs.name, theirs.payload.name, count)
            found.append(compare_peers(rounds, (best.name, best.payload.name, count), other))
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
