"""The load generator, a process of its own: ``python -m benchmarks.serving.load``.

Reads an `Order` a line and writes a `Window` a line, until its input ends. It is asyncio over one
protocol class, so that it can ask faster than what is measured can answer; each window says how
much of a core that took.
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from itertools import cycle
from time import perf_counter, process_time
from typing import Any

from benchmarks.serving.answers import DISCONNECTED, OK, UNREADABLE, kind_of
from benchmarks.serving.arrivals import send_times
from benchmarks.serving.connection import (
    Connection,
    ConnectionEndedError,
    UnreadableAnswerError,
    post_bytes,
)
from benchmarks.serving.orders import (
    MOST_REQUESTS,
    Answered,
    ClosedLoop,
    Order,
    Target,
    Window,
)
from benchmarks.serving.quantiles import quantile

_PAUSE_SECONDS = 0.01
_EXAMPLE_BYTES = 300


async def drive(order: Order) -> Window:
    """Carry out one order."""
    loop = order.loop
    if isinstance(loop, ClosedLoop):
        return await _Run(order, loop.clients).finish(_ask_in_turn)
    total = order.warm_up_seconds + order.seconds
    times = send_times(loop.arrivals, loop.rate, total, loop.seed)
    return await _Run(order, loop.connections).finish(partial(_ask_on_time, times))


class _Tally:
    """What has been heard: times in arrays, 24 bytes a request."""

    def __init__(self) -> None:
        self.times: dict[str, tuple[array[float], array[float], array[float]]] = {}
        self.examples: dict[str, str] = {}
        self.asked = 0

    def add(self, kind: str, sent_s: float, latency_s: float, answer_s: float) -> None:
        if kind not in self.times:
            self.times[kind] = (array("d"), array("d"), array("d"))
        sent, latency_ms, answer_ms = self.times[kind]
        sent.append(round(sent_s, 6))
        latency_ms.append(round(latency_s * 1000, 4))
        answer_ms.append(round(answer_s * 1000, 4))

    def answered(self) -> dict[str, Answered]:
        return {
            kind: Answered(
                sent_s=tuple(sent), latency_ms=tuple(latency_ms), answer_ms=tuple(answer_ms)
            )
            for kind, (sent, latency_ms, answer_ms) in self.times.items()
        }


class _Asker:
    """A connection that is made again when it has ended, and what is asked over it in turn."""

    def __init__(self, target: Target, first: int, tally: _Tally) -> None:
        self._target = target
        host = f"{target.host}:{target.port}"
        requests = [
            (post_bytes(host, target.path, target.headers, one.body), one.labels)
            for one in target.exchanges
        ]
        first %= len(requests)
        self._requests = cycle(requests[first:] + requests[:first])
        self._connection: Connection | None = None
        self._tally = tally
        self.is_waiting = False

    async def connect(self) -> None:
        """Open the connection beforehand; if that fails, the first request says so."""
        try:
            self._connection = await Connection.open(self._target.host, self._target.port)
        except ConnectionEndedError:
            self._connection = None

    async def ask(self) -> str:
        """Send the next request; gives what kind of answer came."""
        request, labels = next(self._requests)
        self.is_waiting = True
        try:
            if self._connection is None or not self._connection.is_open:
                self._connection = await Connection.open(self._target.host, self._target.port)
            answer = await self._connection.ask(request)
            kind = kind_of(answer, labels, reader=self._target.reader)
            shown = answer.body[:_EXAMPLE_BYTES].decode(errors="replace")
        except ConnectionEndedError as error:
            kind, shown = DISCONNECTED, str(error)
        except UnreadableAnswerError as error:
            kind, shown = UNREADABLE, str(error)
        self.is_waiting = False
        if kind != OK:
            self._tally.examples.setdefault(kind, shown)
        return kind

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class _Run:
    """Askers side by side, and what they have heard, for a time that is bounded."""

    def __init__(self, order: Order, askers: int) -> None:
        self.order = order
        self.tally = _Tally()
        self.askers = [_Asker(order.target, number, self.tally) for number in range(askers)]
        self.late_ms = array("d")
        self.unsent = 0
        self.begins = self.opens = self.ends = 0.0

    async def finish(self, work: Callable[[_Run, _Asker], Coroutine[Any, Any, None]]) -> Window:
        """Let each asker work, until the grace is over at the latest."""
        order = self.order
        await asyncio.gather(*(asker.connect() for asker in self.askers))
        began_cpu, self.begins = process_time(), perf_counter()
        self.opens = self.begins + order.warm_up_seconds
        self.ends = self.opens + order.seconds
        tasks = [asyncio.create_task(work(self, asker)) for asker in self.askers]
        await asyncio.wait(tasks, timeout=self.ends - perf_counter())
        cpu_share = (process_time() - began_cpu) / (perf_counter() - self.begins)
        await asyncio.wait(tasks, timeout=order.grace_seconds)
        unanswered = sum(asker.is_waiting for asker in self.askers)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for asker in self.askers:
            asker.close()
        for found in ended:
            if isinstance(found, Exception):
                raise found  # an error of our own is not to be taken for a quiet window
        return Window(
            seconds=order.seconds,
            answered=self.tally.answered(),
            examples=self.tally.examples,
            unanswered=unanswered,
            unsent=self.unsent,
            asked=self.tally.asked,
            late_ms=quantile(self.late_ms, 0.99),
            cpu_share=cpu_share,
        )


async def _ask_in_turn(run: _Run, asker: _Asker) -> None:
    """Ask again as soon as the answer is there."""
    tally = run.tally
    while (sent := perf_counter()) < run.ends and tally.asked < MOST_REQUESTS:
        tally.asked += 1
        kind = await asker.ask()
        answered = perf_counter()
        if run.opens <= answered < run.ends:
            tally.add(kind, sent - run.opens, answered - sent, answered - sent)
        if kind == DISCONNECTED:
            await asyncio.sleep(_PAUSE_SECONDS)


async def _ask_on_time(times: Iterator[float], run: _Run, asker: _Asker) -> None:
    """Take the next of the times that all askers share, and ask then.

    A latency begins at the intended time: when all askers are busy, what is due waits, and its
    waiting counts. Otherwise a slow answer would hide the requests that it held up.
    """
    tally = run.tally
    for offset in times:
        due = run.begins + offset
        early = due - perf_counter()
        if early > 0:
            await asyncio.sleep(early)
            run.late_ms.append((perf_counter() - due) * 1000)
        elif perf_counter() >= run.ends:
            run.unsent += due >= run.opens
            continue
        tally.asked += 1
        sent = perf_counter()
        kind = await asker.ask()
        answered = perf_counter()
        if due >= run.opens:
            tally.add(kind, due - run.opens, answered - due, answered - sent)
        if kind == DISCONNECTED:
            await asyncio.sleep(_PAUSE_SECONDS)


def main() -> None:
    """Carry out orders until the input ends."""
    for line in sys.stdin:
        window = asyncio.run(drive(Order.model_validate_json(line)))
        sys.stdout.write(window.model_dump_json() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
