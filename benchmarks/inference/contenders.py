"""The rows: which networks, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.inference.settings import InferenceSettings
from benchmarks.inference.subject import Subject
from serving.engine.executors.executor import Executor, RunnableBranch
from serving.engine.executors.graphs import GraphExecutor
from serving.engine.executors.in_turn import SequentialExecutor
from serving.engine.executors.streams import StreamExecutor
from serving.engine.executors.threads import ThreadExecutor


@dataclass(frozen=True)
class Row:
    """One thing that is measured.

    Attributes:
        name: ``weak``, ``patched`` and so on.
        executor: what runs its networks.
        networks: gives them; the weak one first.
        beside: the executor of the row ``weak`` that it is compared with.
    """

    name: str
    executor: str
    networks: Callable[[Subject], Sequence[nn.Module]]
    beside: str

    @property
    def key(self) -> tuple[str, str]:
        """Which row it is."""
        return self.name, self.executor


def rows_of(settings: InferenceSettings) -> list[Row]:
    """Every row of one process; ``weak`` and ``module`` by the device's own executor first."""
    best = default_executor(settings)

    def row(
        name: str, networks: Callable[[Subject], Sequence[nn.Module]], executor: str = best
    ) -> Row:
        return Row(name, executor, networks, executor if executor in beside else "in_turn")

    beside = {"in_turn", best, "compiled"}
    others = ["streams", "in_turn"] if settings.device == "cuda" else ["threads"]
    if settings.compiled:
        others.append("compiled")
    return [
        row("weak", lambda s: [s.weak]),
        row("module", lambda s: s.modules(1)),
        row("strong", lambda s: [s.strong]),
        row("patched", lambda s: [s.weak, *s.modules(1)]),
        row("patched_masked", lambda s: [s.weak, s.whole_module]),
        row("patched_strong", lambda s: [s.weak, s.strong]),
        *(row(f"patched_{count}", _with_modules(count)) for count in settings.modules),
        *(row("weak", lambda s: [s.weak], one) for one in others if one in beside),
        *(row("patched", lambda s: [s.weak, *s.modules(1)], one) for one in others),
    ]


def _with_modules(count: int) -> Callable[[Subject], Sequence[nn.Module]]:
    return lambda subject: [subject.weak, *subject.modules(count)]


def default_executor(settings: InferenceSettings) -> str:
    """What the service runs networks by on this device."""
    return "graphs" if settings.device == "cuda" else "in_turn"


def executors_of(settings: InferenceSettings) -> dict[str, Executor]:
    """By name, those of the device."""
    if settings.device == "cpu":
        in_turn = SequentialExecutor()
        return {"in_turn": in_turn, "threads": ThreadExecutor(), "compiled": in_turn}
    batch_size = max(settings.batches)
    in_turn = SequentialExecutor("cuda")
    return {
        "in_turn": in_turn,
        "streams": StreamExecutor(),
        "graphs": GraphExecutor(batch_size=batch_size, precision=settings.precision),
        "compiled": in_turn,
    }


class CompiledBranch:
    """A branch whose network ``torch.compile`` has made faster, for each batch size anew."""

    def __init__(self, branch: RunnableBranch) -> None:
        self._run = torch.compile(branch.run, dynamic=False)

    def run(self, prepared: Tensor) -> Tensor:
        """As the branch does."""
        found: Tensor = self._run(prepared)
        return found


@dataclass(frozen=True)
class Contender:
    """A row that can run.

    Attributes:
        row: which.
        branches: its networks.
        executor: runs them.
    """

    row: Row
    branches: Sequence[RunnableBranch]
    executor: Executor

    def run(self, images: Tensor) -> list[Tensor]:
        """What each network gives for the same prepared images."""
        return self.executor.run(self.branches, [images] * len(self.branches))

    def warm(self, images: Tensor) -> None:
        """Get ready, and run three times."""
        self.executor.get_ready(self.branches, [images[:1]] * len(self.branches))
        for _ in range(3):
            self.run(images)


def contender(row: Row, subject: Subject, executors: dict[str, Executor]) -> Contender:
    """Make a row's networks, on the device."""
    branches: Sequence[RunnableBranch] = [*row.networks(subject)]  # type: ignore[list-item]
    if row.executor == "compiled":
        branches = [CompiledBranch(one) for one in branches]
    return Contender(row, branches, executors[row.executor])
