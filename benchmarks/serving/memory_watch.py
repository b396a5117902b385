"""How much memory a server holds while it is under load."""

from __future__ import annotations

from threading import Event, Thread
from time import perf_counter
from types import TracebackType
from typing import Self

from benchmarks.serving.process_tree import ProcessTree


class MemoryWatch:
    """Looks once a second, in a thread, until its block ends.

    Args:
        processes: whose memory.
        pause_seconds: between two looks.

    Attributes:
        seen: seconds since the start, and MiB that all of the processes held.
    """

    def __init__(self, processes: ProcessTree, *, pause_seconds: float = 1.0) -> None:
        self._processes = processes
        self._pause_seconds = pause_seconds
        self._is_over = Event()
        self._thread = Thread(target=self._watch, name="memory-watch", daemon=True)
        self.seen: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        began = perf_counter()
        while True:
            self.seen.append((perf_counter() - began, self._processes.rss_mib()))
            if self._is_over.wait(self._pause_seconds):
                return
