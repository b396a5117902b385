"""What a server and its children take from the machine."""

from __future__ import annotations

from contextlib import suppress

import psutil  # type: ignore[import-untyped]


class ProcessTree:
    """A process and all that it has started.

    Args:
        pid: of the process.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

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

    def children(self) -> list[psutil.Process]:
        """All that it has started, and these in turn."""
        return list(self._root.children(recursive=True))

    def _all(self) -> list[psutil.Process]:
        return [self._root, *self.children()]
