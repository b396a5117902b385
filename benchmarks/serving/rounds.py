"""Rows side by side: what is compared is measured in turns, in short windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serving.asking import Asking, ask
from benchmarks.serving.cores import on_core
from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.networks import NetworkTimes, time_networks
from benchmarks.serving.orders import ClosedLoop
from benchmarks.serving.rows import Measured, row
from benchmarks.serving.settings import ServingBenchSettings
from benchmarks.serving.subject import Subject
from serving.settings import Settings

Key = tuple[str, str, int]
"""A row's name, payload and number of clients."""

MOST_AT_ONCE = Settings().batch_size
"""Images that the service runs at once, however many wait."""

_TRIAL_CLIENTS = 8
_TRIAL_WINDOWS = 3


@dataclass(frozen=True)
class Rounds:
    """What all rounds gave.

    Attributes:
        measured: of each row, a window a round.
        networks: of each number of clients, the times of the bare networks on as many images at
            once, one a round, taken between the windows.
    """

    measured: dict[Key, list[Measured]] = field(default_factory=dict)
    networks: dict[int, list[NetworkTimes]] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """All rows as JSON values, in the order in which they were first measured."""
        return [
            row(name, payload, measured, clients=clients, arrivals="closed")
            for (name, payload, clients), measured in self.measured.items()
        ]

    def pairs(self, first: Key, second: Key) -> list[tuple[Measured, Measured]]:
        """The windows of two rows, round by round."""
        return list(zip(self.measured[first], self.measured[second], strict=True))


def run_rounds(
    generator: LoadGenerator,
    askings: Sequence[Asking],
    subject: Subject,
    settings: ServingBenchSettings,
    *,
    service_core: int | None,
    told: Callable[[str], None],
) -> Rounds:
    """Ask all of them with each number of clients in turn, round after round.

    Every other round goes backwards, so that none always comes after the same other one.

    Args:
        generator: puts the load.
        askings: what is compared stands side by side.
        subject: whose bare networks are timed in each round.
        settings: how much.
        service_core: where the bare networks run.
        told: called with a line after each round.
    """
    found = Rounds()
    cells = [(clients, asking) for clients in settings.clients for asking in askings]
    for clients, asking in cells:
        found.measured[asking.name, asking.payload.name, clients] = []
    for number in range(settings.rounds):
        for clients in settings.clients:
            with on_core(service_core):
                seconds = settings.window_seconds / 4
                images = min(clients, MOST_AT_ONCE)
                times = time_networks(subject, images=images, seconds=seconds)
            found.networks.setdefault(clients, []).append(times)
        for clients, asking in cells if number % 2 == 0 else reversed(cells):
            measured = ask(
                generator,
                asking,
                ClosedLoop(clients=clients),
                seconds=settings.window_seconds,
                warm_up_seconds=settings.warm_up_seconds,
            )
            found.measured[asking.name, asking.payload.name, clients].append(measured)
        told(f"round {number + 1} of {settings.rounds}")
    return found


def fastest(
    generator: LoadGenerator, askings: Sequence[Asking], settings: ServingBenchSettings
) -> tuple[Asking, list[dict[str, Any]]]:
    """Which form of request one server answers most of, by three short windows at 8 clients.

    Args:
        generator: puts the load.
        askings: the same server, sent the same pictures in several forms.
        settings: how long a window is; here it is half of that.

    Returns:
        The one with the highest median, and a row for each.
    """
    loop = ClosedLoop(clients=_TRIAL_CLIENTS)
    tried: list[list[Measured]] = [[] for _ in askings]
    for _ in range(_TRIAL_WINDOWS):
        for asking, windows in zip(askings, tried, strict=True):
            windows.append(ask(generator, asking, loop, seconds=settings.window_seconds / 2))
    rows = [
        row(one.name, one.payload.name, windows, clients=loop.clients, arrivals="closed")
        for one, windows in zip(askings, tried, strict=True)
    ]
    rates = [one["requests_per_second"] for one in rows]
    return askings[rates.index(max(rates))], rows
