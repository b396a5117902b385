"""Work in progress as a person sees it: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.live import Live
    from rich.table import Table

    from modularizer.progress import Progress

SECONDS_BETWEEN_LINES = 30.0
"""How often, at most, a stage is heard of where stderr is no terminal."""

STOPPED_EARLY, INTERRUPTED = "stopped early", "interrupted"

_MAY_STOP_EARLY = frozenset({"search", "polish"})  # their total is an upper bound
_SHORT = {"accuracy": "Acc", "diff": "Diff"}  # as the paper writes them
_STEPS_TIMED = 10
_LEAST_BAR, _LEAST_NAME, _NAME_WIDTH = 10, 14, 34
_WIDE = 100
_GAP = 2

Clock = Callable[[], float]


class Stage:
    """A stage of some work, as far as it has come.

    Args:
        label: what the work is for.
        step: its first step.
        began: when it began, in seconds of any clock.
    """

    def __init__(self, label: str, step: Progress, began: float) -> None:
        self.label = label
        self.step = step
        self.began = began
        self.ending = ""
        self._told = deque([(began, step.done - 1)], maxlen=_STEPS_TIMED + 1)

    @property
    def name(self) -> str:
        """What it is called on the screen."""
        return f"{self.label}: {self.step.stage}"

    def name_within(self, width: int) -> str:
        """The same, with the end of the label left out where the width asks for it."""
        if len(self.name) <= width:
            return self.name
        stage = f"\u2026: {self.step.stage}"
        return self.label[: max(width - len(stage), 0)] + stage

    def tell(self, step: Progress, now: float) -> None:
        """Take a step."""
        self.step = step
        self._told.append((now, step.done))

    def end(self, why: str) -> None:
        """Say why it ends, if it ends before its last step."""
        if not self.is_complete:
            self.ending = why

    @property
    def is_complete(self) -> bool:
        """Whether its last step was taken."""
        return self.step.done >= self.step.total

    @property
    def told(self) -> float:
        """When the latest step was taken."""
        return self._told[-1][0]

    def seconds_left(self, now: float) -> float:
        """What is left if each step takes as long as those that were told of latest, ten times."""
        (first, before), (last, done) = self._told[0], self._told[-1]
        a_step = (last - first) / max(done - before, 1)
        return max(a_step * (self.step.total - self.step.done) - (now - self.told), 0.0)

    def count(self) -> str:
        """Steps done and in all."""
        return f"{self.step.done}/{self.step.total}"

    def time(self, now: float) -> str:
        """How long it has taken, and how long it will; a search that may stop early, at most."""
        taken = duration(self.told - self.began)
        if self.ending:
            return f"{taken}, {self.ending}"
        if self.is_complete:
            return taken
        most = "at most " if self.step.stage in _MAY_STOP_EARLY else ""
        return f"{duration(now - self.began)}, {most}{duration(self.seconds_left(now))} left"

    def line(self, now: float) -> str:
        """All of it in one line."""
        parts = (f"{self.name} {self.count()}", self.time(now), *metric_texts(self.step.metrics))
        return "  ".join(parts)


class Screen(Protocol):
    """Where stages are shown."""

    def wait(self, label: str) -> None:
        """Some work begins whose first step is not done yet."""

    def show(self, stage: Stage) -> None:
        """A stage took a step."""

    def keep(self, stage: Stage) -> None:
        """A stage is over; it is to be read for good."""


class Follower:
    """Follows work that is done one stage after the other.

    Args:
        screen: where it is shown.
        clock: seconds.
    """

    def __init__(self, screen: Screen, clock: Clock) -> None:
        self._screen = screen
        self._clock = clock
        self._stage: Stage | None = None
        self._idle_since = clock()

    def expect(self, label: str) -> None:
        """Work begins."""
        self.end(STOPPED_EARLY)
        self._idle_since = self._clock()
        self._screen.wait(label)

    def tell(self, label: str, step: Progress) -> None:
        """A step was taken; one of another stage than the last ends that."""
        if self._stage is None or self._stage.name != f"{label}: {step.stage}":
            self.end(STOPPED_EARLY)
            self._stage = Stage(label, step, self._idle_since)
        self._stage.tell(step, self._clock())
        self._screen.show(self._stage)
        if self._stage.is_complete:
            self.end("")
            self._screen.wait(label)

    def end(self, why: str) -> None:
        """End the stage that is under way, if there is one."""
        if self._stage is not None:
            self._stage.end(why)
            self._screen.keep(self._stage)
            self._idle_since = self._stage.told
            self._stage = None


class LogScreen:
    """Lines for a log: one in a while, and one at the end of each stage."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._written = clock()

    def wait(self, label: str) -> None:
        """Say nothing yet."""

    def show(self, stage: Stage) -> None:
        """Write a line if the last one is old and the stage goes on."""
        if (
            not stage.is_complete
            and self._clock() - max(self._written, stage.began) >= SECONDS_BETWEEN_LINES
        ):
            self.keep(stage)

    def keep(self, stage: Stage) -> None:
        """Write a line."""
        self._written = self._clock()
        self._write(stage.line(self._written))


class LiveScreen:
    """The stage at hand as a bar at the foot of a terminal, those before it above, as they ended.

    Args:
        live: runs.
        clock: seconds.
    """

    def __init__(self, live: Live, clock: Clock) -> None:
        self._live = live
        self._clock = clock

    def wait(self, label: str) -> None:
        """Show that something is being done."""
        self._live.update(_Waiting(label, self._clock), refresh=True)

    def show(self, stage: Stage) -> None:
        """Show the bar, which moves on by itself with time."""
        self._live.update(StageBar(stage, self._clock))

    def keep(self, stage: Stage) -> None:
        """Print the bar above those to come."""
        self._live.update("", refresh=True)
        self._live.console.print(StageBar(stage, self._clock))


class StageBar:
    """A stage drawn as a row; what is known by now is on a second one where it doesn't fit.

    Args:
        stage: what to draw.
        clock: seconds.
    """

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self.stage = stage
        self.clock = clock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        stage, width = self.stage, options.max_width
        done, total = stage.step.done, stage.step.total
        texts = metric_texts(stage.step.metrics)
        steps = f"{stage.count()}  {stage.time(self.clock())}"
        named = max(len(stage.name), _NAME_WIDTH if width >= _WIDE else 0)
        named = min(named, max(width - len(steps) - _LEAST_BAR - 2 * _GAP, _LEAST_NAME))
        name = Text(stage.name_within(named))
        bar = ProgressBar(total=done if stage.ending == STOPPED_EARLY else total, completed=done)
        beside = "  ".join(texts)
        if named + _LEAST_BAR + len(steps) + len(beside) + 3 * _GAP <= width:
            yield _row(name, named, bar, Text(f"{steps}  {beside}".rstrip()))
            return
        yield _row(name, named, bar, Text(steps))
        while texts and len("  ".join(texts)) + _GAP > width:
            texts.pop()
        if texts:
            yield Text(" " * _GAP + "  ".join(texts), no_wrap=True)


class _Waiting:
    def __init__(self, label: str, clock: Clock) -> None:
        self.label = label
        self.clock = clock
        self.since = clock()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        waited = duration(self.clock() - self.since)
        yield Text(f"{self.label} ...  {waited}", style="dim", no_wrap=True, overflow="ellipsis")


def _row(name: RenderableType, width: int, bar: RenderableType, rest: RenderableType) -> Table:
    from rich.table import Table

    row = Table.grid(padding=(0, _GAP, 0, 0), expand=True)
    row.add_column(no_wrap=True, width=width, overflow="ellipsis")
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    row.add_row(name, bar, rest)
    return row


def metric_texts(metrics: Mapping[str, float]) -> list[str]:
    """Each metric with its name, in a width that stays: fractions with four places."""
    return [
        f"{_SHORT.get(name, name.replace('_', ' '))} {_number(metrics[name])}" for name in metrics
    ]


def _number(value: float) -> str:
    if isinstance(value, int) or abs(value) >= 10:
        return f"{value:,.0f}"
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"


def duration(seconds: float) -> str:
    """Seconds as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
