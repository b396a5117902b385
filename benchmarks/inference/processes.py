"""The weak model and the module in two processes, as two services on one machine would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

import torch
from torch import multiprocessing

from benchmarks.inference.contenders import contender, executors_of, rows_of
from benchmarks.inference.settings import InferenceSettings

_SECONDS = 300.0


class TwoProcesses:
    """Each runs its network when it is told to; asked and heard through pipes.

    Args:
        ends: one for each process.
    """

    def __init__(self, ends: list[Connection]) -> None:
        self._ends = ends

    def get_ready(self, batch: int) -> None:
        """Let both make images and warm up."""
        self._ask(("ready", batch))

    def run(self) -> float:
        """Let both run at once; milliseconds until both have said that they are done."""
        began = perf_counter()
        self._ask(("run", 0))
        return 1000 * (perf_counter() - began)

    def _ask(self, what: Any) -> None:
        for end in self._ends:
            end.send(what)
        for end in self._ends:
            if not end.poll(_SECONDS):
                raise RuntimeError(f"a process did not answer within {_SECONDS:g} seconds")
            end.recv()


@contextmanager
def two_processes(settings: InferenceSettings) -> Iterator[TwoProcesses]:
    """Start a process for the weak model and one for the module; both end with the context.

    Raises:
        EOFError: if one of them ends by itself.
    """
    context = multiprocessing.get_context("spawn")
    ends, started = [], []
    try:
        for name in ("weak", "module"):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, name, settings), daemon=True)
            process.start()
            theirs.close()
            ends.append(ours)
            started.append(process)
        yield TwoProcesses(ends)
    finally:
        for end in ends:
            end.close()
        for process in started:
            process.join(20)
            process.kill()
            process.join()


def _serve(end: Connection, name: str, settings: InferenceSettings) -> None:
    torch.set_num_threads(settings.threads)
    torch.backends.cudnn.allow_tf32 = settings.precision == "tf32"
    row = next(one for one in rows_of(settings) if one.name == name)
    subject = row.subject(settings)
    one = contender(row, subject, executors_of(settings))
    inputs = subject.inputs(one.networks, 1)
    with torch.inference_mode():
        while True:
            try:
                what, batch = end.recv()
            except EOFError:
                return
            if what == "ready":
                inputs = subject.inputs(one.networks, batch)
                one.warm(inputs)
            else:
                one.run(inputs)
            if inputs[0].is_cuda:
                torch.cuda.synchronize()
            end.send(what)
