"""The load generator as seen by who gives the orders."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

from benchmarks.serving.cores import on_core
from benchmarks.serving.orders import Order, Window
from benchmarks.serving.peer import benchmark_environment
from serving.errors import ServingError


class LoadError(ServingError):
    """The load generator ended before it had carried out its order."""


class LoadGenerator:
    """`benchmarks.serving.load` in a process of its own, started once for many orders.

    Args:
        core: it runs there; None for anywhere.
    """

    def __init__(self, core: int | None = None) -> None:
        with on_core(core):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.serving.load"],
                env=benchmark_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def carry_out(self, order: Order) -> Window:
        """Wait for one order; it ends by itself, after window and grace at the latest.

        Raises:
            LoadError: if the process ends instead.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(order.model_dump_json() + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise LoadError(
                f"the load generator ended with exit code {self._process.wait()}; what it wrote "
                "on stderr says why"
            )
        return Window.model_validate_json(line)

    def close(self) -> None:
        """End the process, in the middle of an order too."""
        self._process.kill()
        self._process.communicate()
