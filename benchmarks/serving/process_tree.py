"""What a server and its children take from the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil  # type: ignore[import-untyped]


class ProcessTree:
    """A process and all that it has started.

    Args:
        pid: of the process.

    Attributes:
        pid: the same.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._root = psutil.Process(pid)
        self._is_paused = False

    def cpu_seconds(self) -> float:
        """Processor time of all of them so far, in steps of a hundredth of a second each."""
        total = 0.0
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def rss_mib(self) -> float:
        """Memory that they hold now; pages that several of them share count in each."""
        total = 0
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 2**20

    def pause(self) -> None:
        """Stop all of them where they are; one that has ended is no error."""
        with suppress(psutil.NoSuchProcess):
            for process in self._all():
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
        self._is_paused = True

    def resume(self) -> None:
        """Let them go on; one that has ended is no error."""
        with suppress(psutil.NoSuchProcess):
            for process in self._all():
                with suppress(psutil.NoSuchProcess):
                    process.resume()
        self._is_paused = False

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let them go on for a block, if they are paused."""
        if not self._is_paused:
            yield
            return
        self.resume()
        try:
            yield
        finally:
            self.pause()

    @contextmanager
    def resumed_at_the_end(self) -> Iterator[None]:
        """For a block that may pause them: who is paused would not hear that it is to end."""
        try:
            yield
        finally:
            self.resume()

    def children(self) -> list[psutil.Process]:
        """All that it has started, and these in turn."""
        return list(self._root.children(recursive=True))

    def _all(self) -> list[psutil.Process]:
        return [self._root, *self.children()]
