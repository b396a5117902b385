"""One form of request to one running server, and a window of load on it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.memory_watch import MemoryWatch
from benchmarks.serving.orders import ClosedLoop, OpenLoop, Order
from benchmarks.serving.payloads import Payload
from benchmarks.serving.peer import Peer
from benchmarks.serving.rows import Measured

_LOOK_SECONDS = 0.5
"""Between two looks at a server's memory, one of which takes some milliseconds."""


@dataclass(frozen=True)
class Asking:
    """Who is asked, and how.

    Attributes:
        name: of the rows: patched, weak, or the other server's.
        peer: the server.
        payload: what it is sent.
    """

    name: str
    peer: Peer
    payload: Payload


def ask(
    generator: LoadGenerator,
    asking: Asking,
    loop: ClosedLoop | OpenLoop,
    *,
    seconds: float,
    warm_up_seconds: float = 0.0,
    grace_seconds: float = 15.0,
) -> Measured:
    """Put one window of load on a server, and read what it took.

    A server that is paused goes on meanwhile.

    Args:
        generator: puts it.
        asking: on whom.
        loop: how.
        seconds: of the window.
        warm_up_seconds: before it.
        grace_seconds: how long answers are waited for after it.
    """
    order = Order(
        target=asking.payload.at(asking.peer.host, asking.peer.port),
        loop=loop,
        seconds=seconds,
        warm_up_seconds=warm_up_seconds,
        grace_seconds=grace_seconds,
    )
    processes = asking.peer.processes
    with processes.awake(), MemoryWatch(processes, pause_seconds=_LOOK_SECONDS) as memory:
        before = processes.cpu_seconds()
        window = generator.carry_out(order)
        taken = processes.cpu_seconds() - before
    return Measured(window, taken, rss_mib=max(mib for _, mib in memory.seen))
