"""The rows: which networks, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from benchmarks.inference.forms import UNPACKED, Formed, compiled, forms_of
from benchmarks.inference.settings import InferenceSettings, RandomNetworks
from benchmarks.inference.subject import Subject
from modularizer.classifier import ImageNetwork
from serving.engine.executors.executor import BranchTimer, Executor, RunnableBranch, ignore_time
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
        form: makes something else of each, if it is given.
    """

    name: str
    executor: str
    networks: Callable[[Subject], Sequence[ImageNetwork]] = field(compare=False)
    form: Callable[[ImageNetwork], RunnableBranch] | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Which row it is."""
        return self.name, self.executor

    def subject(self, settings: InferenceSettings) -> Subject:
        """Where its networks come from."""
        plain = self.form is not None or self.executor in (UNPACKED, "compiled")
        return Subject(settings, is_packed=not plain)


def rows_of(settings: InferenceSettings) -> list[Row]:
    """Every row of one process; ``weak`` and ``module`` as the service runs them first."""
    if settings.forms:
        return [
            Row(name, form, networks, make)
            for form, make in forms_of(compiled=settings.compiled).items()
            for name, networks in _ALONE.items()
        ]
    best, networks = default_executor(settings), settings.networks
    weak = Row("weak", best, lambda s: [s.weak])
    patched = Row("patched", best, _with_modules(1))
    rows = [weak, Row("module", best, lambda s: s.modules(1))]
    if isinstance(networks, RandomNetworks):
        rows.append(Row("module_aligned", best, lambda s: [s.aligned_module]))
    if networks.has_strong:
        rows.append(Row("strong", best, lambda s: [s.strong]))
    rows.append(patched)
    if networks.has_strong:
        rows.append(Row("patched_masked", best, lambda s: [s.weak, s.masked_module]))
        rows.append(Row("patched_strong", best, lambda s: [s.weak, s.strong]))
    rows += [
        Row(f"patched_{count}", best, _with_modules(count))
        for count in settings.modules
        if networks.has_modules(count)
    ]
    for executor in _others(settings):
        if executor in (UNPACKED, "compiled", "in_turn"):
            rows.append(Row(weak.name, executor, weak.networks))
        rows.append(Row(patched.name, executor, patched.networks))
    return rows


_ALONE: dict[str, Callable[[Subject], Sequence[ImageNetwork]]] = {
    "weak": lambda subject: [subject.weak],
    "module": lambda subject: subject.modules(1),
}


def _with_modules(count: int) -> Callable[[Subject], Sequence[ImageNetwork]]:
    return lambda subject: [subject.weak, *subject.modules(count)]


def default_executor(settings: InferenceSettings) -> str:
    """What the service runs networks by on this device; of forms the one that torch has."""
    if settings.forms:
        return UNPACKED
    return "graphs" if settings.device == "cuda" else "in_turn"


def _others(settings: InferenceSettings) -> list[str]:
    others = ["streams", "in_turn"] if settings.device == "cuda" else ["threads", UNPACKED]
    return [*others, *(["compiled"] if settings.compiled else [])]


def executors_of(settings: InferenceSettings) -> dict[str, Executor]:
    """By name, those of the device."""
    if settings.device == "cpu":
        in_turn = SequentialExecutor()
        return {
            "in_turn": in_turn,
            "threads": ThreadExecutor(),
            UNPACKED: in_turn,
            "compiled": in_turn,
        }
    batch_size = max(settings.batches)
    in_turn = SequentialExecutor("cuda")
    return {
        "in_turn": in_turn,
        "streams": StreamExecutor(),
        "graphs": GraphExecutor(batch_size=batch_size, precision=settings.precision),
        "compiled": in_turn,
    }


@dataclass(frozen=True)
class Contender:
    """A row that can run.

    Attributes:
        row: which.
        networks: of it.
        branches: how they are run.
        executor: runs them.
    """

    row: Row
    networks: Sequence[ImageNetwork]
    branches: Sequence[RunnableBranch]
    executor: Executor

    def run(self, inputs: Sequence[Tensor], *, timed: BranchTimer = ignore_time) -> list[Tensor]:
        """What each network gives for its prepared images; see `Executor.run`."""
        return self.executor.run(self.branches, inputs, timed=timed)

    def warm(self, inputs: Sequence[Tensor]) -> None:
        """Get ready, and run three times."""
        self.executor.get_ready(self.branches, [one[:1] for one in inputs])
        for _ in range(3):
            self.run(inputs)


def contender(row: Row, subject: Subject, executors: dict[str, Executor]) -> Contender:
    """Make a row's networks, on the device."""
    networks = row.networks(subject)
    branches: Sequence[RunnableBranch] = [*networks]  # type: ignore[list-item]
    if row.form is not None:
        return Contender(row, networks, [row.form(one) for one in networks], SequentialExecutor())
    if row.executor == "compiled":
        branches = [Formed(compiled(one.run)) for one in branches]
    return Contender(row, networks, branches, executors[row.executor])
